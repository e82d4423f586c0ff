"""`reelin cancel`, `pause`, `resume`, `retry`, `priority`: to jobs by their ids, or to all that a filter meets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from reelin.cli.arguments import All, ApiToken, ApiUrl, AsJson, Filter, JobId, JobIds, filtered
from reelin.cli.client import Client
from reelin.cli.console import complain, print_json, say
from reelin.cli.describe import activity, name
from reelin.cli.endpoint import find_endpoint
from reelin.cli.lookup import find_job
from reelin.cli.problems import ApiProblem
from reelin.cli.text import plural, short_id
from reelin.contracts.jobs import Job, State

_SPAN = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_MANY = 100_000


@filtered
def cancel(
    which: Filter,
    job_ids: JobIds = None,
    everything: All = False,
    keep_partial: Annotated[bool, typer.Option("--keep-partial", help="Keep what was fetched, for a retry.")] = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """End jobs. What was fetched is dropped unless --keep-partial is given; finished files stay."""
    with Client(find_endpoint(url, token)) as client:
        body = {"keep_partial": keep_partial}
        _act(client, "cancel", job_ids, which, everything=everything, body=body, as_json=as_json)


@filtered
def pause(
    which: Filter,
    job_ids: JobIds = None,
    everything: All = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Let jobs stand still; what was fetched is kept. A playlist or a list pauses with what runs of it."""
    with Client(find_endpoint(url, token)) as client:
        _act(client, "pause", job_ids, which, everything=everything, as_json=as_json)


@filtered
def resume(
    which: Filter,
    job_ids: JobIds = None,
    positions: Annotated[
        str | None, typer.Option(metavar="1,4-6", help="Of a preview: just these; the others are cancelled.")
    ] = None,
    everything: All = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Let paused jobs go on. After `get --preview`, say which entries with --positions."""
    body = {"positions": _positions(positions)} if positions else {}
    if positions and len(job_ids or ()) != 1:
        raise typer.BadParameter("Positions are those of one playlist: give its id.", param_hint="--positions")
    with Client(find_endpoint(url, token)) as client:
        _act(client, "resume", job_ids, which, everything=everything, body=body, as_json=as_json)


@filtered
def retry(
    which: Filter,
    job_ids: JobIds = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything that failed; with --state cancelled, what was cancelled.")
    ] = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Run failed or cancelled jobs again, of a playlist or a list just what failed; what was fetched is kept."""
    if everything and not which.state:  # whoever says "all" does not mean what was ended on purpose
        which = replace(which, state=[State.FAILED])
    with Client(find_endpoint(url, token)) as client:
        _act(client, "retry", job_ids, which, as_json=as_json)


def priority(
    job_id: JobId,
    value: Annotated[int, typer.Argument(metavar="N", min=1, max=5, help="1 goes first, 5 last.")],
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Let a job that waits, or what waits of a playlist or a list, come sooner or later."""
    with Client(find_endpoint(url, token)) as client:
        job = client.prioritise(find_job(client, job_id).id, value)
    print_json(job) if as_json else say(f"{short_id(job.id)}  priority {job.priority}  {name(job)}")


def _act(
    client: Client,
    action: str,
    job_ids: Sequence[str] | None,
    which: Filter,
    *,
    everything: bool = False,
    body: Mapping[str, object] | None = None,
    as_json: bool,
) -> None:
    chosen = which.selection(client)
    if bool(job_ids) + bool(chosen) + everything != 1:
        raise typer.BadParameter("Give ids, or a filter such as --failure rate_limited, or --all.", param_hint="ID")
    if job_ids:
        _each(client, job_ids, lambda job: client.act(action, job.id, body), as_json=as_json)
        return
    matched = client.act_on_all(action, {**(body or {}), **({"all": True} if everything else chosen)})
    if as_json:
        print_json({"matched": matched})
    else:
        say(f"{action}: {plural(matched, 'job')}." if matched else "No job fits in a state that allows it.")


def _each(client: Client, job_ids: Sequence[str], act: Callable[[Job], Job], *, as_json: bool) -> None:
    """One that is refused does not stop the others; the exit code tells."""
    refused = False
    for job_id in job_ids:
        try:
            job = act(find_job(client, job_id))
        except ApiProblem as problem:
            refused = True
            complain(*(f"✗ {job_id}: {line}" for line in problem.lines))
        else:
            print_json(job) if as_json else say(f"{short_id(job.id)}  {activity(job)}  {name(job)}")
    if refused:
        raise typer.Exit(1)


def _positions(text: str) -> list[int]:
    """ "1,4-6" is 1, 4, 5, 6."""
    chosen: set[int] = set()
    for part in text.split(","):
        span = _SPAN.fullmatch(part.strip())
        first = int(span[1]) if span else 0
        last = int(span[2] or first) if span else 0
        if not 1 <= first <= last <= _MANY:
            raise typer.BadParameter(f"{part!r} is no position; write 1,4-6.", param_hint="--positions")
        chosen.update(range(first, last + 1))
    return sorted(chosen)
