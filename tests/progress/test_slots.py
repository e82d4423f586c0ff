"""What waits of each job: the newest, and never less than that it ended or was deleted."""

from __future__ import annotations

import asyncio

import pytest

from reelin.contracts.progress import BusEvent, JobDeleted, JobTouched, ProgressEvent
from reelin.progress import Slots, slots
from tests.api.service import progress


def taken(waiting: Slots) -> list[BusEvent]:
    found: list[BusEvent] = []
    while len(waiting):
        found += waiting.take()
    return found


def test_of_a_jobs_progress_the_newest_waits_and_its_place_is_kept() -> None:
    waiting = Slots()
    for percent in range(100):
        waiting.put(progress("busy", percent))
        waiting.put(progress("other", percent))
    found = taken(waiting)
    assert [event.job_id for event in found] == ["busy", "other"]
    assert all(isinstance(event, ProgressEvent) and event.progress.percent == 99 for event in found)


def test_a_change_is_not_lost_behind_progress_nor_progress_behind_a_change() -> None:
    waiting = Slots()
    waiting.put(JobTouched(job_id="a"))
    waiting.put(progress("a", 10))
    waiting.put(JobTouched(job_id="a"))
    assert [type(event) for event in taken(waiting)] == [ProgressEvent, JobTouched]


def test_a_deletion_outlives_what_was_said_before_and_comes_before_what_is_said_after() -> None:
    waiting = Slots()
    waiting.put(progress("a", 10))
    waiting.put(JobTouched(job_id="a"))
    waiting.put(JobDeleted(job_id="a"))
    assert [type(event) for event in taken(waiting)] == [JobDeleted]
    waiting.put(JobDeleted(job_id="a"))
    waiting.put(JobTouched(job_id="a"))  # submitted again
    assert [type(event) for event in taken(waiting)] == [JobDeleted, JobTouched]


def test_it_holds_so_many_jobs_and_no_more_and_deletions_find_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "MOST_JOBS", 3)
    waiting = Slots()
    for name in "abcde":
        waiting.put(JobTouched(job_id=name))
    waiting.put(JobDeleted(job_id="f"))
    waiting.put(progress("c", 1))
    found = taken(waiting)
    assert [event.job_id for event in found] == ["b", "c", "c", "f"]
    assert isinstance(found[-1], JobDeleted)


async def test_whoever_takes_waits_until_there_is_something() -> None:
    waiting = Slots()
    filled = asyncio.create_task(waiting.filled())
    await asyncio.sleep(0)
    assert not filled.done()
    waiting.put(JobTouched(job_id="a"))
    await asyncio.wait_for(filled, 1)
    assert waiting.take() == [JobTouched(job_id="a")]
