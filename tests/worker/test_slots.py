"""The download worker's slots under a real worker on a real Temporal: full, standing still, moving."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority, RetryPolicy
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from reelin.activities import Places
from reelin.activities.places import REFUSALS_AT_ONCE, SECONDS_PER_REFUSAL, STILL_SECONDS
from reelin.worker.slots import download_tuner
from tests.waiting import PATIENCE, eventually

PLACES = 4


@workflow.defn
class Visit:
    @workflow.run
    async def run(self, site: str) -> None:
        await workflow.execute_activity(
            "visit",
            site,
            task_queue=f"{workflow.info().task_queue}-downloads",
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1)),
        )


class Crowd:
    """Visits of sites: those of `slow` last until it is told to go on."""

    def __init__(self, client: Client) -> None:
        self.places = Places(PLACES)
        self.queue = uuid.uuid4().hex
        self.go_on = asyncio.Event()
        self.seen: list[str] = []
        self.inside = self.most = self.refused = 0
        self._client = client

    @activity.defn(name="visit")
    async def visit(self, site: str) -> None:
        self.refused += 1
        with self.places.taken(site):
            self.refused -= 1
            self.seen.append(site)
            self.inside += 1
            self.most = max(self.most, self.inside)
            if site.startswith("slow"):
                await self.go_on.wait()
            self.inside -= 1

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        workflows = Worker(
            self._client,
            build_id="test",
            task_queue=self.queue,
            workflows=[Visit],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        downloads = Worker(
            self._client,
            build_id="test",
            task_queue=f"{self.queue}-downloads",
            activities=[self.visit],
            tuner=download_tuner(self.places),
            activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        )
        async with workflows, downloads:
            yield

    async def send(self, *sites: str) -> list[WorkflowHandle[Visit, None]]:
        return [
            await self._client.start_workflow(
                Visit.run, site, id=uuid.uuid4().hex, task_queue=self.queue, priority=Priority(fairness_key=site)
            )
            for site in sites
        ]

    async def until_seen(self, site: str, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.seen.count(site) < number:
                await asyncio.sleep(0.02)


@pytest.fixture
def crowd(temporal: Client) -> Crowd:
    return Crowd(temporal)


async def test_a_new_site_comes_through_a_full_worker_and_past_those_that_stand_in_line(crowd: Crowd) -> None:
    async with crowd.working():
        slow = await crowd.send(*["slow"] * 40)
        await crowd.until_seen("slow", PLACES)
        for site in ("one", "other"):
            [new] = await crowd.send(site)
            async with asyncio.timeout(PATIENCE):
                await new.result()
        assert crowd.most == PLACES + 1
        crowd.go_on.set()
        await asyncio.gather(*(each.result() for each in slow))
    assert crowd.seen.count("slow") == 40


async def test_a_guest_who_is_slow_too_keeps_no_other_out(crowd: Crowd) -> None:
    crowd.places = Places(2 * PLACES)
    async with crowd.working():
        slow = await crowd.send(*["slow"] * 20)
        await crowd.until_seen("slow", 2 * PLACES)
        slow += await crowd.send("slow guest")
        await crowd.until_seen("slow guest", 1)
        await asyncio.sleep(STILL_SECONDS)
        [new] = await crowd.send("new")
        async with asyncio.timeout(PATIENCE):
            await new.result()
        crowd.go_on.set()
        await asyncio.gather(*(each.result() for each in slow))


async def test_nobody_is_sent_away_while_places_change_hands(crowd: Crowd) -> None:
    crowd.go_on.set()
    async with crowd.working():
        visits = await crowd.send(*["slow", "fast"] * 100)
        await asyncio.gather(*(each.result() for each in visits))
    assert (len(crowd.seen), crowd.refused) == (200, 0)
    assert crowd.most <= PLACES


async def test_a_full_worker_with_nobody_to_let_in_asks_now_and_then_only(crowd: Crowd) -> None:
    began = time.monotonic()
    async with crowd.working():
        await crowd.send(*["slow"] * 40)
        await crowd.until_seen("slow", PLACES)
        await eventually(lambda: crowd.refused > REFUSALS_AT_ONCE + 4)
        assert crowd.refused <= REFUSALS_AT_ONCE + 1 + (time.monotonic() - began) / SECONDS_PER_REFUSAL
        assert crowd.most == PLACES
        crowd.go_on.set()
        await crowd.until_seen("slow", 40)


async def test_a_worker_that_looks_for_guests_stops_at_once(crowd: Crowd) -> None:
    async with asyncio.timeout(PATIENCE):
        async with crowd.working():
            await crowd.send(*["slow"] * 10)
            await crowd.until_seen("slow", PLACES)
            crowd.go_on.set()
        assert crowd.inside == 0
