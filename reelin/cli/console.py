"""Where output goes. No console here reads markup or emoji codes: most of what is shown comes from the net."""

from __future__ import annotations

import json
import sys

import typer
from rich.console import Console
from rich.text import Text

from reelin.cli.text import clean
from reelin.contracts.model import Message

#: A pipe has no width. Wide enough for a title and a full id, narrow enough to be read in a log.
_PIPE_WIDTH = 160


def screen(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def say(line: str | Text = "", *, stderr: bool = False) -> None:
    """One line, never wrapped. A str is made harmless; a Text was built from harmless parts."""
    text = line if isinstance(line, Text) else Text(clean(line, limit=2000))
    screen(stderr=stderr).print(text, soft_wrap=True)


def complain(*lines: str) -> None:
    for line in lines:
        say(line, stderr=True)


def print_json(value: Message | dict[str, object]) -> None:
    """One line. Everything beyond ASCII is escaped, so that no title can reach the terminal as a command."""
    data = value.model_dump(mode="json") if isinstance(value, Message) else value
    typer.echo(json.dumps(data))
