"""One title that tries everything is shown as text by every command, table and bar."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from reelin.cli import describe
from reelin.cli.bars import Bars, Lines
from reelin.cli.client import LibraryVideo
from reelin.cli.console import complain, print_json, say
from reelin.cli.problems import Problem
from reelin.cli.tables import facts_table, formats_table, jobs_table, metadata_facts, videos_table
from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.media import Extracted, Format, Metadata
from tests.cli.api import Api, a_job, completed, event, failed, running
from tests.safety.hostile import TITLE, UNPRINTABLE


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=5000, color_system=None, legacy_windows=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


HOSTILE_JOB = a_job(title=TITLE, url=TITLE, site=TITLE)
HOSTILE_FAILURE = Failure(
    kind=FailureKind.NOT_FOUND, message=TITLE, remedy=REMEDIES[FailureKind.NOT_FOUND], retryable=False
)
HOSTILE_METADATA = Metadata(
    url=TITLE, title=TITLE, extractor=TITLE, extractor_id=TITLE, uploader=TITLE, description=TITLE
)


def _tables() -> list[Any]:
    failed_job = failed(HOSTILE_JOB).model_copy(update={"failure": HOSTILE_FAILURE})
    found = Extracted(metadata=HOSTILE_METADATA, subtitles=(TITLE,))
    return [
        jobs_table([HOSTILE_JOB, failed_job], wide=True),
        jobs_table([HOSTILE_JOB], wide=False),
        videos_table([LibraryVideo(id=TITLE, title=TITLE, uploader=TITLE, state=TITLE)]),
        formats_table([Format(format_id=TITLE, ext=TITLE, note=TITLE, video_codec=TITLE, protocol=TITLE)]),
        facts_table(metadata_facts(found)),
        facts_table(describe.facts(failed_job)),
        describe.outcome(failed_job),
        describe.outcome(completed(HOSTILE_JOB).model_copy(update={"title": TITLE})),
    ]


@pytest.mark.parametrize("number", range(8))
def test_tables_and_outcomes_show_text(console: Console, number: int) -> None:
    console.print(_tables()[number], soft_wrap=True)
    out = shown(console)
    assert "[red]bold[/red]" in out and "<script>" in out
    assert not UNPRINTABLE.search(out)
    assert "pwned" not in out and "\n2026-01-01" not in out


def test_bars_and_lines_show_text(console: Console) -> None:
    with Bars(console) as bars:
        bars.show(running(HOSTILE_JOB, 10, 2))
    own = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown(console))  # how a bar draws itself
    assert "[red]bold[/red]" in own and not UNPRINTABLE.search(own)
    lines = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None, legacy_windows=False)
    with Lines(lines) as display:
        display.show(running(HOSTILE_JOB, 10, 2))
    assert shown(lines).count("\n") == 1 and not UNPRINTABLE.search(shown(lines))


def test_what_is_said_complained_of_and_printed_as_json_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    say(TITLE)
    complain(TITLE, *Problem(title=TITLE, detail=TITLE).lines)
    print_json(HOSTILE_JOB)
    out, err = capsys.readouterr()
    assert not UNPRINTABLE.search(out + err)
    assert (out.count("\n"), err.count("\n")) == (2, 2)
    assert json.loads(out.splitlines()[1])["title"] == TITLE
    assert out.isascii() or out.splitlines()[1].isascii()


@pytest.mark.parametrize("command", ["ls", "show", "watch", "videos", "get", "info"])
def test_every_command_shows_text(
    api: Api, reelin: Callable[..., int], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    url = "https://example.org/1"
    formats = (Format(format_id=TITLE, note=TITLE),)
    result = HOSTILE_METADATA.model_dump(mode="json") | {"formats": [each.model_dump() for each in formats]}
    job = completed(a_job(title=TITLE, site=TITLE, url=url)).model_copy(
        update={"title": TITLE, **({"result": result} if command == "info" else {})}
    )
    api.add(job)
    api.videos = [{"id": "v-1", "title": TITLE, "uploader": TITLE, "url": url, "state": "downloaded", "files": []}]
    api.streams[job.links.events] = [[event(running(job, 5, 2)), event(job), "event: end\ndata: {}\n\n"]]
    arguments = {"show": [job.id], "watch": [job.id], "get": [url], "info": [url]}.get(command, [])
    assert reelin(command, *arguments) == 0
    out, err = capsys.readouterr()
    assert "<script>" in out
    assert not UNPRINTABLE.search(out + err)
    assert "pwned" not in out and not re.search(r"^(event|data|2026-01-01)", out, re.MULTILINE)
