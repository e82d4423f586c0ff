"""`reelin ls` and `show`: jobs that were submitted, and the items of batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson, Filter, JobId, filtered
from reelin.cli.client import Client
from reelin.cli.console import print_json, say, screen
from reelin.cli.describe import facts
from reelin.cli.endpoint import find_endpoint
from reelin.cli.failures import by_kind
from reelin.cli.lookup import find_job
from reelin.cli.tables import facts_table, jobs_table, print_table
from reelin.cli.text import clean, short_id
from reelin.contracts.jobs import Job, State


@filtered
def ls(
    which: Filter,
    items: Annotated[bool, typer.Option("--items", help="The items of playlists and lists too.")] = False,
    sort: Annotated[
        str | None,
        typer.Option(help="submitted_at, finished_at, title, size, or position with --parent; -size: largest first."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="All, however many.")] = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """List jobs, the newest first; with --parent the items of a playlist or a list, in its order."""
    most = None if everything else limit
    with Client(find_endpoint(url, token)) as client:
        query = {**which.selection(client), **({"items": True} if items else {}), **({"sort": sort} if sort else {})}
        found = client.jobs(query, limit=most)
        if as_json:
            for job in found:
                print_json(job)
            return
        jobs = list(found)
        _print_jobs(jobs, positions=which.parent is not None)
        if len(jobs) == most:
            _say_how_many(client.count(query), which.state, len(jobs))


def _print_jobs(jobs: Sequence[Job], *, positions: bool) -> None:
    console = screen()
    if jobs:
        print_table(console, jobs_table(jobs, wide=not console.is_terminal, positions=positions))
    else:
        say("No jobs.", stderr=True)


def _say_how_many(counts: dict[State, int], states: Sequence[State] | None, shown: int) -> None:
    total = sum(count for each, count in counts.items() if not states or each in states)
    if total > shown:
        say(f"The first {shown:,} of {total:,}; --limit and --all show more.", stderr=True)


def show(job_id: JobId, as_json: AsJson = False, url: ApiUrl = None, token: ApiToken = None) -> None:
    """Show everything about a job; of a playlist or a list its counts, and why items failed."""
    with Client(find_endpoint(url, token)) as client:
        job = find_job(client, job_id)
        if as_json:
            print_json(job)
            return
        found = facts(job)
        if job.counts and job.counts.failed:
            found.append(("failed", clean(by_kind(client, job))))
        screen().print(facts_table(found))
    if job.counts:
        say()
        say(f"Its items: reelin ls --parent {short_id(job.id)}", stderr=True)
