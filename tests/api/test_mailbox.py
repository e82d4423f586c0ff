"""A mailbox holds the newest event of each job, and nothing else."""

from __future__ import annotations

import asyncio

from reelin.api.events import DeletedEvent, JobEvent
from reelin.api.mailbox import Letter, Subscription


def _event(job_id: str, version: int) -> JobEvent:
    return JobEvent(job_id, version, final=False, text=f'{{"id":"{job_id}"}}')


async def test_a_slow_client_gets_the_newest_event_of_each_job_only() -> None:
    mailbox = Subscription("sse")
    for version in range(1, 1001):
        mailbox.put(_event("a", version))
        mailbox.put(_event("b", version))
    assert len(mailbox) == 2
    assert [(await anext(mailbox)).event.version for _ in "ab"] == [1000, 1000]
    assert len(mailbox) == 0


async def test_an_older_event_never_replaces_a_newer_one() -> None:
    mailbox = Subscription("sse")
    mailbox.put(_event("a", 5))
    mailbox.put(_event("a", 4))
    mailbox.put(_event("a", 5), snapshot=True)
    letter = await anext(mailbox)
    assert (letter.event.version, letter.snapshot, mailbox.take()) == (5, True, None)


async def test_a_busy_job_does_not_push_a_quiet_one_back() -> None:
    mailbox = Subscription("sse")
    mailbox.put(_event("busy", 1))
    mailbox.move_on(1)
    mailbox.put(_event("quiet", 2))
    mailbox.move_on(2)
    mailbox.put(_event("busy", 3))
    first, second = await anext(mailbox), await anext(mailbox)
    assert (first.event.job_id, first.event.version, first.position) == ("busy", 3, 0)
    assert (second.event.job_id, second.position) == ("quiet", 1)


async def test_a_position_claims_nothing_that_still_waits_and_never_goes_back() -> None:
    mailbox = Subscription("sse")
    mailbox.move_on(5)
    mailbox.put(_event("live", 99))
    mailbox.prime([(_event("c", 50), 30), (_event("a", 40), 10), (_event("live", 20), 20)])
    mailbox.move_on(30)
    mailbox.move_on(7)
    assert mailbox.next_position == 5
    letters = [await anext(mailbox) for _ in range(3)]
    assert [(letter.event.job_id, letter.position) for letter in letters] == [("live", 5), ("a", 9), ("c", 29)]
    assert [letter.event.version for letter in letters] == [99, 40, 50]
    assert mailbox.next_position == 30


async def test_an_end_is_not_replaced_by_what_was_said_before_it_and_a_deletion_wins() -> None:
    mailbox = Subscription("sse")
    end = JobEvent("a", 9, final=True, text="{}")
    mailbox.put(end)
    mailbox.put(_event("a", 8))
    assert mailbox.take() == Letter(end, 0)
    mailbox.put(end)
    mailbox.put(DeletedEvent("a", 3))
    assert isinstance((await anext(mailbox)).event, DeletedEvent)
    mailbox.put(DeletedEvent("a", 10))
    mailbox.put(_event("a", 4))
    assert (await anext(mailbox)).event.version == 4, "it was submitted again"


async def test_closing_ends_the_iteration_at_once() -> None:
    mailbox = Subscription("sse")
    waiting = asyncio.create_task(anext(mailbox, None))
    await asyncio.sleep(0)
    mailbox.put(_event("a", 1))
    mailbox.close()
    assert await waiting is None
    assert [letter async for letter in mailbox] == []


async def test_an_event_is_serialised_once_for_everyone() -> None:
    event = _event("a", 7)
    assert event.sse is event.sse and event.update is event.update and event.status is event.status
    assert event.sse == b'id: 7\r\nevent: job\r\ndata: {"id":"a"}\r\n\r\n'
    assert DeletedEvent("a", 8).sse == b'id: 8\r\nevent: deleted\r\ndata: {"id": "a"}\r\n\r\n'
