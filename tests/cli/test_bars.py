from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from rich.console import Console

from reelin.cli import describe
from reelin.cli.bars import Bars, Lines, display
from reelin.cli.client import LibraryVideo
from reelin.cli.tables import formats_table, jobs_table, print_table, videos_table
from reelin.contracts.jobs import Job, Phase, Progress, State
from reelin.contracts.media import Format
from tests.cli.api import a_job, a_list, completed, ended, failed, item, running

HOSTILE = "[red]\x1b]0;pwned\x07:smile:\x1b[2J\u202e[/red][link=http://evil.example]x"
HARMLESS = "[red]:smile:[/red][link=http://evil.example]x"


def terminal(width: int = 120) -> Console:
    # As strict as a console can be made to misread what it gets: markup and emoji codes are on.
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, legacy_windows=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_bar_shows_title_percent_size_speed_and_what_is_done() -> None:
    console = terminal()
    progress = Progress(
        percent=41.7,
        downloaded_bytes=4_370_000,
        total_bytes=10_480_000,
        bytes_per_second=1_048_576.0,
        eta_seconds=5.8,
        fragment=3,
        fragments=20,
        stream=1,
        streams=2,
    )
    job = a_job(title="A clip", state=State.RUNNING, phase=Phase.DOWNLOADING, progress=progress)
    with Bars(console) as bars:
        bars.show(job)
    for part in ("A clip", "42 %", "4.4/10.5 MB", "1.0 MB/s", "0:06", "downloading 3/20 stream 1/2"):
        assert part in printed(console)


@pytest.mark.parametrize("width", [40, 80])
def test_bars_fit_a_narrow_terminal(width: int) -> None:
    console = terminal(width)
    with Bars(console) as bars:
        bars.show(running(a_job(title="A very long title " * 20), 12.5, 2))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed(console)).splitlines()
    assert max(len(line) for line in lines) <= width


def test_where_lines_are_few_those_that_run_go_before_those_that_wait() -> None:
    console, looking = terminal(), terminal()
    console.height = 5
    with Bars(console) as bars:
        for number in range(1, 9):
            bars.show(a_job(number, title=f"waits {number}"))
        bars.show(running(a_job(9, title="runs"), 10, 2))
        looking.print(bars._progress)
    lines = printed(looking).splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("runs")


@pytest.mark.parametrize("finish", [completed, failed])
def test_hostile_titles_are_shown_as_text(finish: object) -> None:
    assert callable(finish)
    console = terminal(200)
    job = a_job(title=HOSTILE)
    with Bars(console) as bars:
        bars.show(running(job, 10, 2))
        bars.show(finish(job).model_copy(update={"title": HOSTILE}))
    assert printed(console).count(HARMLESS) >= 2
    assert "pwned" not in printed(console)


def test_hostile_cells_of_tables_are_shown_as_text() -> None:
    console = terminal(400)
    console.print(jobs_table([a_job(title=HOSTILE, site=HOSTILE)], wide=True))
    console.print(videos_table([LibraryVideo(id="v", title=HOSTILE, uploader=HOSTILE, state=HOSTILE)]))
    console.print(formats_table([Format(format_id=HOSTILE, note=HOSTILE, video_codec=HOSTILE)]))
    assert printed(console).count(HARMLESS) == 8
    assert "pwned" not in printed(console)
    assert "\x1b" not in printed(console)


def test_a_narrow_screen_cuts_titles_and_neither_ids_nor_figures() -> None:
    console = terminal(80)
    print_table(console, jobs_table([completed(a_job(1)).model_copy(update={"title": "long " * 50})], wide=False))
    for whole in ("video-00000001", "completed", "1.1 MB", "2026-01-02", "…"):
        assert whole in printed(console)


def test_a_log_gets_a_line_for_each_change_of_phase_and_otherwise_few() -> None:
    console = Console(file=io.StringIO(), width=200)
    now = 0.0
    job = a_job(title="A clip")
    lines = Lines(console, clock=lambda: now)
    for percent in range(100):
        now += 0.1
        lines.show(running(job, percent, percent + 2))
    lines.show(completed(job))
    shown = printed(console).splitlines()
    assert shown[0].startswith("A clip  downloading  0 %")
    assert len(shown) == 2 + 2
    assert shown[-2:] == ["✓ A clip", "    clip [1].mp4  1.1 MB"]


def test_a_log_of_many_jobs_gets_no_more_than_a_line_a_second() -> None:
    console = Console(file=io.StringIO(), width=200)
    now = 0.0
    lines = Lines(console, clock=lambda: now)
    jobs = [a_job(number, title=f"Clip {number}") for number in range(1, 51)]
    for second in range(100):
        now += 1
        for job in jobs:
            lines.show(running(job, second, second + 2))
    assert 50 + 50 <= len(printed(console).splitlines()) <= 50 + 100


def test_output_that_is_no_terminal_gets_lines() -> None:
    assert isinstance(display(console=Console(file=io.StringIO())), Lines)
    assert isinstance(display(console=terminal()), Bars)


def test_a_failure_is_told_with_kind_message_and_remedy() -> None:
    text = describe.outcome(failed(a_job(title="A clip"))).plain
    assert text.splitlines() == [
        "✗ A clip",
        "    not_found: The site says 404.",
        "    Check the URL.",
        "    To try again: reelin retry video-00000001",
    ]


def test_a_batch_is_told_with_what_became_of_its_items() -> None:
    outcome = describe.outcome(ended(a_list(completed=8, skipped=2))).plain
    assert outcome.splitlines() == ["✓ 10 URLs", "    10/10: 8 done, 2 skipped"]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (a_job(), "queued"),
        (a_job(state=State.RUNNING), "running"),
        (a_job(state=State.RUNNING, phase=Phase.MERGING), "merging"),
        (a_list(), "0/10; queued"),
        (a_list(completed=2, failed=1), "3/10: 2 done, 1 failed"),
        (a_list(skipped=1, running=1200, waiting=2, paused=3), "1/10: 1 skipped, 1,200 running, 2 waiting, 3 paused"),
    ],
)
def test_what_a_job_does_is_said_in_words(job: Job, words: str) -> None:
    assert describe.activity(job) == words


def test_a_batch_keeps_its_bar_and_its_running_items_share_what_is_left_of_the_screen() -> None:
    console, looking = terminal(), terminal()
    console.height = 6
    with Bars(console) as bars:
        bars.show(a_list(completed=2, running=6))
        for number in range(1, 9):
            bars.show(item(a_job(number, title=f"queued {number}")))
        for number in range(1, 9):
            bars.show(running(item(a_job(number, title=f"runs {number}")), 10, 2))
        looking.print(bars._progress)
    lines = printed(looking).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("10 URLs") and "2 done" in lines[0]
    assert all(line.startswith("runs") for line in lines[1:])


@pytest.mark.parametrize("kind", [Bars, Lines])
def test_of_a_large_batch_only_failures_are_told_and_not_without_end(kind: type[Bars | Lines]) -> None:
    console = terminal(200)
    batch = a_list(running=50)
    assert batch.counts is not None
    large = batch.model_copy(update={"counts": batch.counts.model_copy(update={"total": 10_000})})
    with kind(console) as shown:
        shown.show(large)
        for number in range(1, 2_000):
            end = failed if number % 10 == 0 else completed
            shown.show(item(end(a_job(number)), number))
    lines = [line for line in printed(console).splitlines() if "not_found" in line]
    assert len(lines) == 20
    assert "A clip" not in printed(console)


def test_an_item_that_was_through_before_a_retry_is_not_told_again() -> None:
    console = terminal(200)
    old = item(completed(a_job(1)))
    with Lines(console) as lines:
        lines.show(a_list(completed=1, running=1))
        lines.show(old.model_copy(update={"finished_at": old.submitted_at - timedelta(seconds=1)}))
        lines.show(ended(a_list(completed=2)))
    assert "A clip" not in printed(console)


def test_a_playlist_inside_a_list_is_one_of_its_items() -> None:
    console = terminal(200)
    result = {"completed": 1, "skipped": 2}
    inner = item(ended(a_list(completed=1, skipped=2))).model_copy(
        update={"id": "playlist-1", "title": "Inner", "result": result}
    )
    with Lines(console) as lines:
        lines.show(a_list(running=1))
        lines.show(inner)
    assert "✓ Inner  3/10: 1 done, 2 skipped\n" in printed(console)
