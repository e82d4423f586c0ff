"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

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
JobIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of jobs, or beginnings of them.")]


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "\n".join(("Examples:", *(f"  {line}" for line in lines)))
