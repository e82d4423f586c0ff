"""What the items of a batch wait for, added up; and what one job waits for, by its row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import MOST_WAITS, ItemsWait, State, WaitReason
from reelin.contracts.sites import COMPLAINTS
from reelin.library import JobRecord, Library, Standstill, added_up
from tests.api.batches import Worker
from tests.library.samples import begun, expanded, failure, let_go, new_job

LATER = datetime.now(UTC) + timedelta(minutes=20)


async def waits(library: Library, batch_id: str) -> dict[WaitReason, ItemsWait]:
    found = (await library.batches.standing(batch_id)).waits
    assert len({wait.reason for wait in found}) == len(found)
    return {wait.reason: wait for wait in found}


async def wait_after(
    library: Library, job_id: str, kind: FailureKind, *, attempt: int = 1, until: datetime = LATER
) -> None:
    said = failure(kind).model_copy(update={"message": f"It said {kind}."})
    await library.jobs.wait(job_id, 1, failure=said, attempt=attempt, until=until, for_lease=kind in COMPLAINTS)


async def test_items_that_try_again_are_told_from_those_that_run(library: Library) -> None:
    await expanded(library, "a", "b", "c", "d", "e", "f")
    first, second, *others = await let_go(library)
    await library.jobs.mark_dispatched([(job_id, 1) for job_id in (first, second, *others)])
    for job_id in (first, second, *others):
        await library.jobs.begin(job_id, 1, 1)
    await wait_after(library, first, FailureKind.SITE_ERROR, attempt=3, until=LATER + timedelta(minutes=1))
    await wait_after(library, second, FailureKind.SITE_ERROR, attempt=2)
    standing = await library.batches.standing("bulk-one")
    assert (standing.counts.running, standing.counts.waiting) == (4, 2)
    released = await library.window.release("bulk-one", at_once=50, limit_of=lambda _: None)
    assert (released.in_flight, released.waiting) == (6, 2), "Temporal's page of the list says it too"
    [wait] = standing.waits
    assert wait == ItemsWait(
        reason=WaitReason.RETRY,
        count=2,
        until=LATER,
        attempt=3,
        failure=FailureKind.SITE_ERROR,
        message="It said site_error.",
        site="example.org",
    )


async def test_each_reason_is_counted_by_itself(library: Library) -> None:
    names = "abcdefgh"
    await expanded(library, *names)
    going = await let_go(library, at_once=7)
    disk, premiere, site, taken, paused, unknown, due = going
    await library.jobs.mark_dispatched([(job_id, 1) for job_id in going if job_id != unknown])
    await wait_after(library, disk, FailureKind.DISK_FULL)
    await wait_after(library, premiere, FailureKind.NOT_LIVE_YET)
    await wait_after(library, due, FailureKind.NETWORK, until=datetime.now(UTC) - timedelta(seconds=1))
    await library.jobs.wait_for_lease(site, 1)
    await library.jobs.request_pause(paused)
    await library.jobs.pause(paused, 1)
    found = await waits(library, "bulk-one")
    counts = {reason: wait.count for reason, wait in found.items()}
    assert counts == {
        WaitReason.DISK: 1,
        WaitReason.PREMIERE: 1,
        WaitReason.SITE: 1,
        WaitReason.WORKER: 2,  # one that Temporal has, and one whose moment has come
        WaitReason.TEMPORAL: 1,
        WaitReason.PAUSED: 1,
        WaitReason.LINE: 1,
    }
    assert taken and found[WaitReason.SITE].failure is None


async def test_what_a_submitted_list_holds_beyond_its_rows_stands_in_line_too(library: Library) -> None:
    worker = await Worker.of(library, 300)
    assert (await waits(library, worker.batch_id))[WaitReason.LINE].count == 300
    started = await worker.release()
    await worker.begin(started[0])
    found = await waits(library, worker.batch_id)
    assert {reason: wait.count for reason, wait in found.items()} == {WaitReason.LINE: 250, WaitReason.WORKER: 49}


async def test_an_example_of_a_message_is_short_however_long_it_was(library: Library) -> None:
    await expanded(library, "a")
    [job_id] = await let_go(library)
    await begun(library, job_id)
    await library.jobs.wait(
        job_id, 1, failure=failure().model_copy(update={"message": "<b>" * 100_000}), attempt=1, until=LATER
    )
    [wait] = (await library.batches.standing("bulk-one")).waits
    assert len(wait.message or "") == 300


def test_there_are_never_more_groups_than_people_can_read() -> None:
    found = added_up(ItemsWait(reason=WaitReason.RETRY, count=2, failure=kind) for kind in FailureKind)
    assert len(found) == MOST_WAITS
    together = added_up([ItemsWait(reason=WaitReason.SITE, count=2, site=site) for site in ("a.org", "b.org")])
    assert together == [ItemsWait(reason=WaitReason.SITE, count=4)], "of two sites none is named"


async def _row(library: Library, name: str) -> JobRecord:
    return (await library.jobs.submit(new_job(name))).job


def reason(job: JobRecord) -> WaitReason | None:
    return Standstill.of(job, datetime.now(UTC)).reason


async def test_a_row_says_what_its_job_waits_for(library: Library) -> None:
    job = await _row(library, "one")
    assert reason(job) is WaitReason.TEMPORAL
    await library.jobs.mark_dispatched([(job.id, 1)])
    assert reason(await library.jobs.get(job.id)) is WaitReason.WORKER
    waiting = await library.jobs.wait_for_lease(job.id, 1)
    assert waiting is not None and reason(waiting) is WaitReason.SITE
    running = await library.jobs.begin(job.id, 1, 1)
    assert running is not None and reason(running) is None
    await wait_after(library, job.id, FailureKind.SITE_ERROR)
    assert reason(await library.jobs.get(job.id)) is WaitReason.RETRY
    await library.jobs.wait_for_lease(job.id, 1)  # the next attempt needs the site's leave too
    await library.jobs.cancel(job.id, 1)
    assert reason(await library.jobs.get(job.id)) is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FailureKind.RATE_LIMITED, WaitReason.SITE),
        (FailureKind.BOT_CHECK, WaitReason.SITE),
        (FailureKind.SITE_ERROR, WaitReason.RETRY),
        (FailureKind.DISK_FULL, WaitReason.DISK),
        (FailureKind.NOT_LIVE_YET, WaitReason.PREMIERE),
    ],
)
async def test_what_failed_says_what_is_waited_for(library: Library, kind: FailureKind, expected: WaitReason) -> None:
    job = await _row(library, "one")
    await begun(library, job.id)
    await wait_after(library, job.id, kind)
    waiting = await library.jobs.get(job.id)
    assert (waiting.state, reason(waiting)) == (State.WAITING, expected)
    assert Standstill.of(waiting, datetime.now(UTC)).failure is kind
