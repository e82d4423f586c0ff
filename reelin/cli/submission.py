"""What `reelin get` sends: a URL, or a list of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from reelin.cli.client import Client
from reelin.cli.console import complain
from reelin.cli.problems import ApiProblem
from reelin.cli.text import plural
from reelin.contracts.jobs import Job

#: Lines of a list that are named when they cannot be used.
_NAMED = 20


def read_list(urls: Sequence[str], file: str | None) -> str | None:
    """A list, one URL a line; None where there is just one URL. Those of the command line come after the file's."""
    if file is None:
        return "\n".join(urls) if len(urls) > 1 else None
    text = _read(file)
    return "\n".join([text.removesuffix("\n"), *urls])


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.", param_hint="--file") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is not a text in UTF-8.", param_hint="--file") from error


def submit_list(client: Client, text: str, common: Mapping[str, Any], *, skip_invalid: bool) -> Job:
    """One job for all of them. Raises typer.Exit after it has named the lines that cannot be used."""
    fields = {**common, "options": json.dumps(common["options"]), "skip_invalid": skip_invalid}
    try:
        accepted = client.submit_list(text, fields)
    except ApiProblem as problem:
        if not any(error.field.startswith("lines.") for error in problem.problem.errors):
            raise
        _name_lines(problem)
        raise typer.Exit(1) from None
    if accepted.skipped:
        complain(f"{plural(accepted.skipped, 'line')} cannot be used and were left out.")
    return accepted.job


def _name_lines(problem: ApiProblem) -> None:
    errors = problem.problem.errors
    complain(*(f"✗ {error.message} {error.remedy}" for error in errors[:_NAMED]))
    if len(errors) > _NAMED:
        complain("  … " + problem.problem.detail.partition(" cannot be used")[0] + " cannot be used.")
    complain("Nothing was submitted. Correct them, or run the others with --skip-invalid.")


def options_of(pairs: Sequence[str], **given: str | int | bool | None) -> dict[str, Any]:
    """What was given by name wins over the same field in `pairs`."""
    options = dict(_pair(text) for text in pairs)
    return options | {field: value for field, value in given.items() if value is not None and value is not False}


def _pair(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        raise typer.BadParameter(f"{text!r} is not NAME=JSON, such as max_bytes=1000000.", param_hint="--option")
    try:
        return field.strip(), json.loads(value)
    except ValueError:
        return field.strip(), value  # a bare word is a string: cookies=work
