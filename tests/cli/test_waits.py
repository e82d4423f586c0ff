"""Why jobs do not move, in words: for a log, for a line that is drawn again, in tables, and of hostile text."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from reelin.cli import describe
from reelin.cli.bars import Bars, Lines
from reelin.cli.tables import facts_table, jobs_table
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Counts, ItemsWait, Job, SiteLine, State, Wait, WaitReason
from tests.cli.api import Api, a_job, a_list, item
from tests.safety.hostile import TITLE, UNPRINTABLE

NOW = datetime.now(UTC)
#: Far enough ahead, and always another day: with its date.
LATER = datetime(2099, 5, 6, 12, 20, tzinfo=datetime.now().astimezone().tzinfo)
AFTER_500 = {"failure": FailureKind.SITE_ERROR, "attempt": 3, "message": "HTTP Error 500"}
THREE_RUN = SiteLine(in_use=3, max_at_once=3, waiting=17)


def waiting(reason: WaitReason, **fields: Any) -> Job:
    return a_job(state=State.WAITING, waiting_for=Wait(reason=reason, **fields))


def stuck_list(*waits: ItemsWait, **counts: int) -> Job:
    job = a_list(**(counts or {"waiting": 10}))
    return job.model_copy(update={"items_waiting": waits, "counts": Counts(total=10, **(counts or {"waiting": 10}))})


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (
            waiting(WaitReason.RETRY, until=LATER, **AFTER_500),
            "waits until 2099-05-06 12:20 after site_error (attempt 3): HTTP Error 500",
        ),
        (
            waiting(WaitReason.SITE, site=THREE_RUN),
            "waits for its site example.org: 3 of 3 run, 17 in line",
        ),
        (
            waiting(WaitReason.SITE, until=LATER, failure=FailureKind.RATE_LIMITED, site=SiteLine(in_use=0, waiting=1)),
            "waits for its site example.org: shut until 2099-05-06 12:20 after rate_limited, 0 run, 1 in line",
        ),
        (waiting(WaitReason.SITE), "waits for its site example.org"),
        (
            waiting(WaitReason.DISK, until=LATER, message="Only 3 MB are free."),
            "waits for the disk until 2099-05-06 12:20: Only 3 MB are free",
        ),
        (waiting(WaitReason.PREMIERE, until=LATER), "waits for the video to begin until 2099-05-06 12:20"),
        (waiting(WaitReason.RESOURCES), "waits for memory and files"),
        (waiting(WaitReason.TEMPORAL), "waits to be started"),
        (
            waiting(WaitReason.TEMPORAL, message="Temporal does not answer."),
            "waits for Temporal: Temporal does not answer",
        ),
        (waiting(WaitReason.WORKER, message="No worker listens."), "waits for a worker: No worker listens"),
        (waiting(WaitReason.PAUSED), "paused, until someone resumes it"),
        (item(waiting(WaitReason.LINE)), f"waits in line of {a_list().id}"),
    ],
)
def test_each_reason_has_a_sentence(job: Job, words: str) -> None:
    assert describe.activity(job) == words


def test_every_reason_has_words_alone_and_for_items() -> None:
    for reason in WaitReason:
        assert " " in describe.activity(waiting(reason))
        assert "10" in describe.of_items(ItemsWait(reason=reason, count=10))


def test_a_line_that_is_drawn_again_counts_down() -> None:
    job = waiting(WaitReason.RETRY, until=NOW + timedelta(seconds=275), **AFTER_500)
    assert describe.activity(job, NOW) == "waits 4:35 after site_error (attempt 3): HTTP Error 500"
    assert describe.activity(job, NOW + timedelta(seconds=1)).startswith("waits 4:34 after")
    assert describe.activity(job, NOW + timedelta(seconds=300)).startswith("waits since ")


def test_a_moment_of_today_is_told_to_the_second() -> None:
    job = waiting(WaitReason.RETRY, until=NOW.astimezone().replace(hour=23, minute=59, second=58))
    assert "23:59:58" in describe.activity(job)


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (
            stuck_list(ItemsWait(reason=WaitReason.RETRY, count=10, until=LATER, **AFTER_500)),
            "0/10: 10 waiting; 10 wait, next at 2099-05-06 12:20, after site_error (attempt 3): HTTP Error 500",
        ),
        (
            stuck_list(
                ItemsWait(reason=WaitReason.LINE, count=8),
                ItemsWait(reason=WaitReason.SITE, count=1, site="example.org"),
                running=1,
                waiting=1,
                queued=8,
            ),
            "0/10: 1 running, 1 waiting; 1 waits for example.org",
        ),
        (stuck_list(ItemsWait(reason=WaitReason.LINE, count=9), running=1, queued=9), "0/10: 1 running"),
        (stuck_list(ItemsWait(reason=WaitReason.LINE, count=10), queued=10), "0/10; 10 in line"),
    ],
)
def test_a_list_says_what_its_items_wait_for_where_that_is_not_as_usual(job: Job, words: str) -> None:
    assert describe.activity(job) == words


def test_a_list_that_is_paused_or_held_up_says_it_itself() -> None:
    line = stuck_list(ItemsWait(reason=WaitReason.LINE, count=10), queued=10)
    paused = line.model_copy(update={"state": State.PAUSED, "waiting_for": Wait(reason=WaitReason.PAUSED)})
    assert describe.activity(paused) == "0/10; paused, until someone resumes it"
    away = line.model_copy(
        update={"waiting_for": Wait(reason=WaitReason.TEMPORAL, message="Temporal does not answer.")}
    )
    assert describe.activity(away) == "0/10; waits for Temporal: Temporal does not answer; 10 in line"


def test_a_terminal_shows_a_line_that_changes_beside_the_title() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None, legacy_windows=False)
    looking = Console(file=io.StringIO(), width=100)
    until = datetime.now(UTC) + timedelta(seconds=595)
    message = "Unable to download webpage: HTTP Error 500: Internal Server Error"
    job = waiting(WaitReason.RETRY, until=until, **(AFTER_500 | {"message": message}))
    with Bars(console) as bars:
        bars.show(job.model_copy(update={"title": "A talk about something"}))
        looking.print(bars._progress)
    assert isinstance(looking.file, io.StringIO)
    line = looking.file.getvalue()
    assert line.startswith("A talk") and "waits 9:" in line and "after site_error (attempt 3)" in line


def test_a_log_gets_a_line_when_the_reason_changes_and_not_with_every_moment() -> None:
    console = Console(file=io.StringIO(), width=200)
    lines = Lines(console, clock=lambda: 0.0)
    for minute in range(30):
        until = LATER + timedelta(minutes=minute)
        lines.show(stuck_list(ItemsWait(reason=WaitReason.RETRY, count=10, until=until, **AFTER_500)))
    lines.show(stuck_list(ItemsWait(reason=WaitReason.DISK, count=10)))
    assert isinstance(console.file, io.StringIO)
    assert len(console.file.getvalue().splitlines()) == 2


def test_lists_have_a_column_for_it_where_something_waits() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(jobs_table([a_job(1), waiting(WaitReason.RETRY, until=LATER, **AFTER_500)], wide=True))
    console.print(jobs_table([a_job(1)], wide=True))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "until 2099-05-06 12:20 after site_error (attempt 3): HTTP Error 500" in shown
    assert shown.count("waits") == 1, "no empty column"


def test_show_says_all_that_a_lists_items_wait_for(
    api: Api, reelin: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    waits = (ItemsWait(reason=WaitReason.RETRY, count=6, **AFTER_500), ItemsWait(reason=WaitReason.DISK, count=4))
    job = stuck_list(*waits)
    api.add(job)
    assert reelin("show", job.id) == 0
    shown = capsys.readouterr().out
    assert "0/10: 10 waiting" in shown
    assert "6 wait, after site_error (attempt 3): HTTP Error 500" in shown and "4 wait for the disk" in shown


def test_what_the_net_said_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    wait = {"failure": FailureKind.SITE_ERROR, "message": TITLE, "until": LATER}
    job = waiting(WaitReason.RETRY, **wait).model_copy(update={"title": TITLE, "site": TITLE})
    batch = stuck_list(ItemsWait(reason=WaitReason.SITE, count=10, site=TITLE, **wait))
    console = Console(file=io.StringIO(), force_terminal=True, width=5000, color_system=None, legacy_windows=False)
    for each in (job, batch):
        console.print(facts_table(describe.facts(each)))
        console.print(jobs_table([each], wide=True))
        with Lines(console) as lines:
            lines.show(each)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("[red]bold[/red]") >= 6 and "pwned" not in shown
    assert not UNPRINTABLE.search(shown)
