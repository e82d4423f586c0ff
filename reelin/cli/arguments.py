"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

import typer

from reelin.cli.client import Client
from reelin.cli.lookup import find_job
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State

Selection = dict[str, str | list[str]]
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


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs, as options say it. `@filtered` makes options of these fields."""

    state: States = None
    kind: OfKind = None
    parent: Parent = None
    site: Site = None
    failure: Failed = None
    text: Text = None

    def selection(self, client: Client) -> Selection:
        """The filter as the API takes it. `parent` may be the beginning of an id. Raises Missing, ApiProblem."""
        batch = find_job(client, self.parent).id if self.parent else None
        given = {"kind": self.kind, "parent": batch, "site": self.site, "failure": self.failure, "q": self.text}
        chosen: Selection = {field: str(value) for field, value in given.items() if value is not None}
        return chosen | ({"state": [each.value for each in self.state]} if self.state else {})


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of a Filter where `command` has its parameter `which`.

    Typer reads a command's options from its signature; this writes one that names them all.
    """
    fields = get_type_hints(Filter, include_extras=True)
    hints = get_type_hints(command, include_extras=True)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(which=Filter(**{name: given.pop(name) for name in fields}), **given)

    parameters: list[Parameter] = []
    for own in signature(command).parameters.values():
        if own.name == "which":
            parameters += [_option(name, hint, None) for name, hint in fields.items()]
        else:
            parameters.append(_option(own.name, hints[own.name], own.default))
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what inspect.signature() looks for
    return run


def _option(name: str, hint: object, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "\n".join(("Examples:", *(f"  {line}" for line in lines)))
