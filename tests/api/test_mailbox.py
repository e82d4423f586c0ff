"""A mailbox holds the newest event of each job, and nothing else."""

from __future__ import annotations

import asyncio

from reelin.api.events import DeletedEvent, JobEvent
from reelin.api.mailbox import Subscription


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
    mailbox.put(_event("quiet", 2))
    mailbox.put(_event("busy", 3))
    first, second = await anext(mailbox), await anext(mailbox)
    assert (first.event.job_id, first.event.version, first.since) == ("busy", 3, 1)
    assert (second.event.job_id, second.since) == ("quiet", 2)


async def test_a_snapshot_is_sorted_in_among_what_waits() -> None:
    mailbox = Subscription("sse")
    mailbox.put(_event("new", 50))
    mailbox.prime([_event("c", 30), _event("a", 10), _event("new", 40)])
    letters = [await anext(mailbox) for _ in range(3)]
    assert [(letter.event.job_id, letter.event.version) for letter in letters] == [("a", 10), ("c", 30), ("new", 50)]
    assert all(letter.snapshot for letter in letters)


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
