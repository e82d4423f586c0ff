"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from reelin.cli.client import Client
from reelin.cli.lookup import find_job
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State

ApiUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="REELIN_URL",
        metavar="ADDRESS",
        help="Where the API is. Default: where `reelin up` says that it listens, else http://127.0.0.1:8484.",
    ),
]
ApiToken = Annotated[
    str | None, typer.Option("--token", envvar="REELIN_API_TOKEN", metavar="TOKEN", help="The API's bearer token.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or the beginning of one.")]
JobIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", help="Ids of jobs, or beginnings of them; else a filter.")
]

# Which jobs: for lists, and for what is done to many.
States = Annotated[
    list[State] | None, typer.Option("--state", metavar="STATE", help=f"May be repeated: {', '.join(State)}.")
]
OfKind = Annotated[Kind | None, typer.Option("--kind", metavar="KIND", help="video, playlist, bulk or info.")]
Parent = Annotated[str | None, typer.Option(metavar="ID", help="The items of this playlist or list.")]
Site = Annotated[str | None, typer.Option(help="Only from this site: example.org.")]
Failed = Annotated[
    FailureKind | None,
    typer.Option("--failure", metavar="FAILURE", help="What failed, or waits, so: rate_limited, not_found, …"),
]
Text = Annotated[str | None, typer.Option("-q", metavar="TEXT", help="Part of the title or the URL.")]
All = Annotated[bool, typer.Option("--all", help="Every job that it can be done to.")]


def selection(
    client: Client,
    *,
    state: Sequence[State] | None = None,
    kind: Kind | None = None,
    parent: str | None = None,
    site: str | None = None,
    failure: FailureKind | None = None,
    text: str | None = None,
) -> dict[str, str | list[str]]:
    """The filter as the API takes it. `parent` may be the beginning of an id. Raises Missing, ApiProblem."""
    batch = find_job(client, parent).id if parent else None
    given = {"kind": kind, "parent": batch, "site": site, "failure": failure, "q": text}
    chosen: dict[str, str | list[str]] = {field: str(value) for field, value in given.items() if value is not None}
    return chosen | ({"state": [each.value for each in state]} if state else {})


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "\n".join(("Examples:", *(f"  {line}" for line in lines)))
