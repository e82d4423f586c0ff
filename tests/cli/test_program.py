"""The program as a whole: start-up, help, exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reelin import __version__
from reelin.cli import get
from reelin.cli.program import run
from reelin.contracts.options import PRESETS

COMMANDS = [
    *("get", "info", "ls", "show", "watch", "pause", "resume", "cancel", "retry", "priority", "videos", "sites"),
    *("up", "serve", "worker", "doctor", "demo"),
]
HEAVY = "temporalio sqlalchemy alembic fastapi starlette uvicorn yt_dlp tldextract pydantic_settings reelin.settings"


def test_starting_imports_nothing_heavy() -> None:
    code = f"import sys, reelin.cli.program; print(*(name for name in {HEAVY.split()!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, reelin.cli; print(*(name for name in sys.modules if name.startswith('reelin.cli.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert f"reelin {command}" in shown.partition("Examples:")[2]


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f" {command} " in shown for command in COMMANDS)


def test_the_help_of_get_names_every_preset() -> None:
    annotation = str(get.get.__annotations__["preset"])
    assert all(preset in annotation for preset in PRESETS)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"reelin {__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["get"], ["ls", "--state", "odd"], ["get", "--option", "x", "u"]])
def test_a_wrong_call_exits_with_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_no_api_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls", "--url", "http://127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "http://127.0.0.1:9" in error
    assert "reelin up" in error


def test_a_wrong_setting_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELIN_PORTT", "1")
    assert run(["ls"]) == 2
    assert capsys.readouterr().err == "There is no setting REELIN_PORTT. Did you mean REELIN_PORT?\n"


def test_an_ascii_only_pipe_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reelin.cli", "doctor", "--help"],
        env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == b""


def test_an_argument_that_is_no_text_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["get", "https://example.org/\udcff"]) == 2
    assert capsys.readouterr().err == "The argument 'https://example.org/\\udcff' is not valid UTF-8.\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m reelin.cli doctor --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
