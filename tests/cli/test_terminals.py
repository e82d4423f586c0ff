"""What reaches a real terminal: one that is dumb, one without colour, one of 40 columns; and what reaches none."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from reelin.contracts.jobs import State
from tests.cli.api import END, Api, a_job, completed, event, failed, running
from tests.waiting import PATIENCE

LONG = "A title that is far too long for any terminal of forty columns"
ONE = a_job(1, title=LONG)
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


@pytest.fixture(autouse=True)
def jobs(api: Api) -> None:
    api.add(running(ONE, 41.7, 2), failed(a_job(2)), a_job(3, state=State.WAITING))
    api.streams[ONE.links.events] = [[*(event(running(ONE, n, n + 2)) for n in range(90)), event(completed(ONE)), END]]


def environment(api: Api, **terminal: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "REELIN_URL": api.url, "LANG": "C.UTF-8", **terminal}


def on_a_terminal(api: Api, *command: str, columns: int = 80, **terminal: str) -> str:
    """All that the terminal got."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    program = subprocess.Popen(
        [sys.executable, "-m", "reelin.cli", *command],
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment(api, **terminal),
        start_new_session=True,
    )
    os.close(its)
    got = b""
    with program, contextlib.suppress(OSError):  # how Linux says that nobody has the other end any more
        while part := os.read(ours, 65_536):
            got += part
    os.close(ours)
    assert program.wait(PATIENCE) == 0, got
    return got.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("terminal", [{"TERM": "dumb"}, {}], ids=["dumb", "unknown"])
def test_a_dumb_terminal_gets_lines_and_few_of_them(api: Api, terminal: dict[str, str]) -> None:
    shown = on_a_terminal(api, "get", str(ONE.url), columns=40, **terminal)
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert lines[0].startswith(f"{LONG}  downloading")
    assert lines[-2:] == ["✓ A clip", "    clip [1].mp4  1.1 MB"]
    assert len(lines) < 10, "of 90 reports"


def test_a_terminal_that_draws_gets_bars_and_without_colour_no_colour(api: Api) -> None:
    drawn = on_a_terminal(api, "get", str(ONE.url), TERM="xterm-256color")
    plain = on_a_terminal(api, "get", str(ONE.url), TERM="xterm-256color", NO_COLOR="1")
    assert "\x1b[?25l" in drawn and "\x1b[?25l" in plain, "the cursor is hidden while bars are drawn"
    assert COLOUR.search(drawn) and not COLOUR.search(plain)


def test_a_pipe_gets_lines_even_if_it_is_to_have_colours(api: Api) -> None:
    command = [sys.executable, "-m", "reelin.cli", "get", str(ONE.url)]
    done = subprocess.run(command, env=environment(api, FORCE_COLOR="1", TERM="dumb"), capture_output=True, text=True)
    assert "\x1b[?25l" not in done.stdout and "\x1b[2K" not in done.stdout
    assert done.stdout.splitlines()[0].startswith(f"{LONG}  downloading")


@pytest.mark.parametrize("terminal", ["dumb", "xterm"])
def test_at_forty_columns_ids_states_and_figures_are_whole(api: Api, terminal: str) -> None:
    shown = on_a_terminal(api, "ls", columns=40, TERM=terminal, NO_COLOR="1")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert max(map(len, text.splitlines())) <= 40
    for whole in ("video-00000001", "running", "42 %", "failed: not_found", "waiting", "2026-01-02 03:04"):
        assert whole in text
    assert ("\x1b" in shown) == (terminal == "xterm"), "bold and dim are no colours"


def test_a_url_that_does_not_fit_is_folded_and_not_cut(api: Api) -> None:
    url = "https://example.org/" + "watch/" * 20
    api.add(ONE.model_copy(update={"url": url}))
    shown = on_a_terminal(api, "show", ONE.id, columns=40, TERM="dumb")
    assert url in re.sub(r"\s", "", shown)
    assert ONE.id in re.sub(r"\s", "", shown)


def test_help_on_a_dumb_terminal_has_no_frames_and_keeps_its_examples(api: Api) -> None:
    shown = on_a_terminal(api, "--help", columns=40, TERM="dumb")
    assert "╭" not in shown and "\x1b" not in shown
    assert "reelin ls --state failed" in [line.strip() for line in shown.splitlines()]
    for command in ("get", "watch", "doctor"):
        assert re.search(rf"^  {command} ", shown, re.MULTILINE)
