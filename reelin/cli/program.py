"""One run of the program: a command, its exit code, and what becomes of an expected error."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

from typer.models import CommandInfo, TyperInfo

from reelin.cli.app import app
from reelin.cli.console import complain, expect_little_of_an_unknown_terminal, is_dumb, terminal_width
from reelin.cli.problems import ApiProblem
from reelin.errors import ReelinError, StartupError

OK = 0
FAILED = 1
CANNOT_START = 2
INTERRUPTED = 130


def run(arguments: list[str] | None = None) -> int:
    """The exit code: 0 done, 1 something failed or was refused, 2 cannot start or no API, 130 Ctrl-C."""
    _never_fail_on_a_character()
    expect_little_of_an_unknown_terminal()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        _refuse_undecodable(arguments)
        app(arguments, prog_name="reelin", **_plain_help())
    except SystemExit as stop:
        return _code(stop)
    except ApiProblem as problem:
        complain(*problem.lines)
        return FAILED
    except ReelinError as error:
        complain(str(error))
        return CANNOT_START
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK


def leave(code: int) -> NoReturn:
    """Exit. Programs that used Temporal's SDK may abort while the interpreter shuts down, so they skip that."""
    if "temporalio" not in sys.modules:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code(stop: SystemExit) -> int:
    if stop.code is None:
        return OK
    return stop.code if isinstance(stop.code, int) else FAILED


def _plain_help() -> dict[str, int]:
    """Help without frames where nothing is drawn, as wide as the terminal is."""
    if not (is_dumb() and sys.stdout.isatty()):
        return {}
    app.rich_markup_mode = None
    described: tuple[TyperInfo | CommandInfo, ...] = (app.info, *app.registered_commands)
    for command in described:
        if command.epilog:
            command.epilog = f"\b\n{command.epilog}"  # else its lines would be folded into one
    return {"terminal_width": terminal_width(sys.stdout)}


def _refuse_undecodable(arguments: list[str]) -> None:
    """Bytes that are no text in this locale: neither JSON nor a URL can carry them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise StartupError(f"The argument {argument!r} is not valid UTF-8.") from None


def _never_fail_on_a_character() -> None:
    """A terminal or a pipe that knows ASCII only gets a question mark instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
