"""One title that tries everything neither forges a line of the log nor drives the terminal that shows it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from reelin.logs import configure_logs
from tests.safety.hostile import TITLE, UNPRINTABLE

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def say_everything() -> None:
    log = structlog.get_logger("tests.safety")
    log.info("attempt failed", message=TITLE, title="\x1b]0;pwned\x07", short="\nforged")
    logging.getLogger("tests.library").warning("a library says %s", TITLE)
    try:
        raise ValueError(TITLE)
    except ValueError:
        log.exception("a fault")


def test_a_title_is_one_line_of_the_log_and_never_a_line_of_its_own(capsys: Captured) -> None:
    configure_logs("info", "console")
    say_everything()
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert not UNPRINTABLE.search(said)
    assert len([line for line in lines if not line.startswith("    ")]) == 3
    assert "[red]bold[/red]" in lines[0] and "    ValueError: <script>" in said


def test_a_title_is_a_text_in_a_log_of_json(capsys: Captured) -> None:
    configure_logs("info", "json")
    say_everything()
    said = capsys.readouterr().err
    entries = [json.loads(line) for line in said.splitlines()]
    assert [entry["event"] for entry in entries] == ["attempt failed", f"a library says {TITLE}", "a fault"]
    assert entries[0]["message"] == TITLE and TITLE in entries[2]["exception"]
    assert said.isascii()
