"""Where output goes. No console here reads markup or emoji codes: most of what is shown comes from the net.

A terminal that draws gets bars and colours. One that is dumb (an editor's shell, one that does not say what it is) gets
plain lines as wide as it is; a pipe gets wide ones, and nothing that moves, whatever colours are asked for.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

import typer
from rich.console import Console
from rich.text import Text

from reelin.cli.text import clean
from reelin.contracts.model import Message

#: A pipe has no width. Wide enough for a title and a full id, narrow enough to be read in a log.
_PIPE_WIDTH = 160


#: Without a size, what every terminal had once.
_SIZE = os.terminal_size((80, 25))


def expect_little_of_an_unknown_terminal() -> None:
    """Rich draws on a terminal that does not say what it is; curses and we do not."""
    os.environ.setdefault("TERM", "dumb")


def is_dumb() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def terminal_width(stream: TextIO) -> int:
    return _size(stream).columns


def screen(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = height = interactive = None
    if not stream.isatty():
        width, height, interactive = _PIPE_WIDTH, _SIZE.lines, False
    elif is_dumb():
        width, height = _size(stream)  # Rich does not ask, and takes every dumb one for 80 columns wide.
    return Console(
        stderr=stderr,
        width=width,
        height=height,
        force_interactive=interactive,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _size(stream: TextIO) -> os.terminal_size:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # no terminal, or no file at all
        return _SIZE
    return size if size.columns and size.lines else _SIZE


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
