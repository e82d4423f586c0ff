"""`reelin ls`, `show`, `cancel`, `retry`: jobs that were submitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson, JobId, JobIds
from reelin.cli.client import Client
from reelin.cli.console import complain, print_json, say, screen
from reelin.cli.describe import activity, facts, name
from reelin.cli.endpoint import find_endpoint
from reelin.cli.lookup import find_job
from reelin.cli.problems import ApiProblem
from reelin.cli.tables import facts_table, jobs_table, print_table
from reelin.cli.text import short_id
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Job, Kind, State


def ls(
    state: Annotated[
        list[State] | None, typer.Option(metavar="STATE", help=f"Only these; may be repeated: {', '.join(State)}.")
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(metavar="KIND", help="Only this kind: video, playlist, bulk or info.")
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="The items of this playlist or list, in their order.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Only from this site: example.org.")] = None,
    failure: Annotated[
        FailureKind | None, typer.Option(metavar="FAILURE", help="Only what failed so: rate_limited, not_found, …")
    ] = None,
    text: Annotated[str | None, typer.Option("-q", metavar="TEXT", help="Search in titles and URLs.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="All, however many.")] = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """List jobs, the newest first; or the items of one."""
    filters = {"kind": kind, "site": site, "failure": failure, "q": text}
    query: dict[str, str | list[str]] = {field: str(value) for field, value in filters.items() if value is not None}
    if state:
        query["state"] = [each.value for each in state]
    with Client(find_endpoint(url, token)) as client:
        if parent is not None:
            query["parent"] = find_job(client, parent).id
        found = client.jobs(query, limit=None if everything else limit)
        if as_json:
            for job in found:
                print_json(job)
        else:
            _print_jobs(list(found), limit=None if everything else limit, items=parent is not None)


def _print_jobs(jobs: Sequence[Job], *, limit: int | None, items: bool) -> None:
    console = screen()
    if not jobs:
        say("No items." if items else "No jobs.", stderr=True)
        return
    print_table(console, jobs_table(jobs, wide=not console.is_terminal, items=items))
    if len(jobs) == limit:
        say(f"The first {limit}; --limit and --all show more.", stderr=True)


def show(job_id: JobId, as_json: AsJson = False, url: ApiUrl = None, token: ApiToken = None) -> None:
    """Show everything about a job."""
    with Client(find_endpoint(url, token)) as client:
        job = find_job(client, job_id)
    if as_json:
        print_json(job)
    else:
        screen().print(facts_table(facts(job)))


def cancel(
    job_ids: JobIds,
    keep_partial: Annotated[bool, typer.Option("--keep-partial", help="Keep what was fetched, for a retry.")] = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """End jobs. What was fetched is dropped unless --keep-partial is given."""
    with Client(find_endpoint(url, token)) as client:
        _each(client, job_ids, lambda job: client.cancel(job.id, keep_partial=keep_partial), as_json=as_json)


def retry(job_ids: JobIds, as_json: AsJson = False, url: ApiUrl = None, token: ApiToken = None) -> None:
    """Run failed or cancelled jobs again; what was fetched is kept."""
    with Client(find_endpoint(url, token)) as client:
        _each(client, job_ids, lambda job: client.retry(job.id), as_json=as_json)


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
