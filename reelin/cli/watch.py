"""Showing jobs until they are final, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

import typer

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson
from reelin.cli.bars import Display, display
from reelin.cli.client import Client
from reelin.cli.console import complain, say
from reelin.cli.endpoint import find_endpoint
from reelin.cli.failures import show_failures
from reelin.cli.lookup import find_job
from reelin.cli.stream import follow
from reelin.cli.text import short_id
from reelin.contracts.jobs import UNFINISHED_STATES, Job, State

_INTERRUPTED = 130


def show_until_final(
    client: Client, jobs: Sequence[Job], shown: Display, *, adopt: bool = False, as_json: bool = False
) -> bool:
    """Whether all were completed. Ctrl-C ends the showing only: the downloads are Reelin's, not this program's."""
    last = {job.id: job for job in jobs}
    try:
        show_all(client, last, shown, adopt=adopt)
    except KeyboardInterrupt:
        _still_going(_unfinished(last))
        raise typer.Exit(_INTERRUPTED) from None
    for job_id in _unfinished(last):
        complain(f"{job_id} was deleted meanwhile.")
    if not as_json:
        for job in last.values():
            show_failures(client, job)
    return all(job.state is State.COMPLETED for job in last.values())


def show_all(client: Client, last: dict[str, Job], shown: Display, *, adopt: bool = False) -> None:
    """Keeps `last` up to date until every job in it is final, or was deleted. Items are shown and not kept."""
    with shown:
        for job in last.values():
            shown.show(job)
        ends: list[Job] = []
        for job in follow(client, _unfinished(last), adopt=adopt):
            item = job.id not in last and job.parent_id in last
            if not item:
                last[job.id] = job
            if job.state.final and not item and not adopt and len(last) == 1:
                ends.append(job)  # the last items of a batch are told after its own end, and shown before
            else:
                shown.show(job)
        for job in ends:
            shown.show(job)


def _unfinished(jobs: dict[str, Job]) -> list[str]:
    return [job.id for job in jobs.values() if not job.state.final]


def _still_going(job_ids: Collection[str]) -> None:
    if not job_ids:
        return
    only = f" {short_id(next(iter(job_ids)))}" if len(job_ids) == 1 else ""
    say("The download goes on." if only else f"The {len(job_ids)} downloads go on.", stderr=True)
    say(f"Watch: reelin watch{only}   Cancel: reelin cancel{only or ' ID'}", stderr=True)


def watch(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A job's id, or the beginning of one.")] = None,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Show a job, or all that are not finished, live until they are done.

    A playlist or a list is one bar with its counts; by its id, what runs of it has bars of its own.
    Exits with 0 if all were completed, else with 1.
    """
    with Client(find_endpoint(url, token)) as client:
        jobs = [find_job(client, job_id)] if job_id else unfinished(client)
        if not jobs and not as_json:
            say("Nothing is running.")
        done = show_until_final(client, jobs, display(as_json=as_json), adopt=job_id is None, as_json=as_json)
    raise typer.Exit(0 if done else 1)


def unfinished(client: Client) -> list[Job]:
    """Without paused jobs: they would be waited for until someone resumes them."""
    states = sorted(UNFINISHED_STATES - {State.PAUSED})
    return list(client.jobs({"state": [state.value for state in states]}))
