"""`reelin info`: what a site says of a URL, without downloading."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson
from reelin.cli.client import Client
from reelin.cli.console import complain, print_json, say, screen
from reelin.cli.describe import outcome
from reelin.cli.endpoint import find_endpoint
from reelin.cli.tables import facts_table, formats_table, metadata_facts, print_table
from reelin.contracts.jobs import Job, Kind, State
from reelin.contracts.media import Extracted


def info(
    page: Annotated[str, typer.Argument(metavar="URL", help="A page with a video, or a media file.")],
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Show a video's metadata and the formats that it comes in."""
    with Client(find_endpoint(url, token)) as client:
        job = _look(client, page)
    if as_json:
        print_json(job)
    elif job.state is State.COMPLETED:
        _print_result(job)
    else:
        say(outcome(job), stderr=True)
    raise typer.Exit(0 if job.state is State.COMPLETED else 1)


def _look(client: Client, page: str) -> Job:
    """Always asks the site: an answer of last week names formats that are gone."""
    with screen(stderr=True).status("Asking the site…"):
        return client.finished(client.submit({"url": page, "kind": Kind.INFO.value, "force": True}).id)


def _print_result(job: Job) -> None:
    result = job.result or {}
    try:
        found = Extracted.model_validate({**result, "metadata": result})  # the API's answer is flat
    except ValidationError:
        complain("The result is of another version of Reelin; --json prints it as it is.")
        return
    console = screen()
    console.print(facts_table(metadata_facts(found)))
    if found.formats:
        say()
        print_table(console, formats_table(found.formats))
