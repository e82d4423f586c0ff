"""What the embedded Temporal server's settings cost, and what each way of running a list's items costs.

    python bench/temporal.py [--rounds 3] [--items 200]

No download is made: an item is a workflow with one activity that does nothing.

- *settings*: how SQLite keeps its journal and syncs it, and how often Temporal's queues are polled.
- *items*: as child workflows that signal their parent when they end, or let go by an activity that starts workflows of
  their own, which ring the list now and then: Reelin's way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from harness import console, percentile, print_table
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker
from usage import cpu_seconds

from reelin.embedded.ports import choose_port
from reelin.embedded.server import DYNAMIC_CONFIG, PRAGMAS, ServerPlan, TemporalServer, find_temporal

QUEUE = "bench"
Seen = tuple[float, float, int]
AT_ONCE = 50
POKE_SECONDS = 0.5
FASTER_POLLS = {**DYNAMIC_CONFIG, "history.transferProcessorMaxPollRPS": "1000"}
SETTINGS: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "the program's own journal": ((), DYNAMIC_CONFIG),
    "WAL, synchronous=2": (("journal_mode=wal", "synchronous=2"), DYNAMIC_CONFIG),
    "WAL, synchronous=1 (Reelin's)": (PRAGMAS, DYNAMIC_CONFIG),
    "the same, queues polled 50 times as often": (PRAGMAS, FASTER_POLLS),
}


@activity.defn
async def work(_: str) -> None:
    """Where a download would be."""


async def run_activity(item: str) -> None:
    await workflow.execute_activity(work, item, start_to_close_timeout=timedelta(seconds=60))


@workflow.defn
class Item:
    @workflow.run
    async def run(self, item: str) -> None:
        await run_activity(item)


@workflow.defn
class SignallingItem:
    @workflow.run
    async def run(self, item: str, parent: str) -> None:
        try:
            await run_activity(item)
        finally:
            await workflow.get_external_workflow_handle(parent).signal("ended", item)


@workflow.defn
class ParentOfChildren:
    """The sliding window that a workflow keeps by itself."""

    def __init__(self) -> None:
        self.flying: set[str] = set()

    @workflow.signal
    def ended(self, item: str) -> None:
        self.flying.discard(item)

    @workflow.run
    async def run(self, name: str, items: int) -> None:
        for number in range(items):
            await workflow.wait_condition(lambda: len(self.flying) < AT_ONCE)
            item = f"{name}-{number}"
            self.flying.add(item)
            await workflow.start_child_workflow(
                SignallingItem.run,
                args=[item, workflow.info().workflow_id],
                id=item,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            )
        await workflow.wait_condition(lambda: not self.flying)


class Window:
    """In the place of Reelin's tables: which items are in line and in flight."""

    def __init__(self, client: Client, items: int) -> None:
        self._client = client
        self._left = items
        self._flying: set[str] = set()
        self._changed = asyncio.Event()

    @activity.defn
    async def advance(self, name: str) -> bool:
        """Whether something is left."""
        free = min(AT_ONCE - len(self._flying), self._left)
        items = [f"{name}-{self._left - each}" for each in range(free)]
        self._left -= free
        self._flying.update(items)
        slots = asyncio.Semaphore(8)

        async def start(item: str) -> None:
            async with slots:
                await self._client.start_workflow(BellItem.run, item, id=item, task_queue=QUEUE)

        await asyncio.gather(*(start(item) for item in items))
        return bool(self._left or self._flying)

    @activity.defn
    async def work_and_ring(self, item: str) -> None:
        self._flying.discard(item)
        self._changed.set()

    async def ring(self, batch: str) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            with contextlib.suppress(Exception):
                await self._client.get_workflow_handle(batch).signal("poke")
            await asyncio.sleep(POKE_SECONDS)


@workflow.defn
class BellItem:
    @workflow.run
    async def run(self, item: str) -> None:
        await workflow.execute_activity("work_and_ring", item, start_to_close_timeout=timedelta(seconds=60))


@workflow.defn
class Batch:
    def __init__(self) -> None:
        self.poked = False

    @workflow.signal
    def poke(self) -> None:
        self.poked = True

    @workflow.run
    async def run(self, name: str) -> None:
        while True:
            self.poked = False
            left = await workflow.execute_activity(
                "advance", name, result_type=bool, start_to_close_timeout=timedelta(seconds=60)
            )
            if not left:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(lambda: self.poked, timeout=timedelta(seconds=30))


@contextlib.asynccontextmanager
async def serving(
    pragmas: tuple[str, ...] = PRAGMAS, config: Mapping[str, str] = DYNAMIC_CONFIG
) -> AsyncIterator[tuple[TemporalServer, Client]]:
    with tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder:
        plan = ServerPlan(find_temporal(), Path(folder), choose_port(0), choose_port(0), pragmas, config)
        server = TemporalServer(plan)
        client = await server.start()
        try:
            yield server, client
        finally:
            await server.stop()


def worker(client: Client, window: Window | None = None) -> Worker:
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[Item, SignallingItem, ParentOfChildren, BellItem, Batch],
        activities=[work, *([window.advance, window.work_and_ring] if window else [])],
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
    )


@dataclass
class Setting:
    alone_ms: list[float]
    start_ms: list[float]
    per_second: list[float]


async def measure_setting(name: str, items: int, found: Setting) -> None:
    async with serving(*SETTINGS[name]) as (_, client), worker(client):
        for _ in range(20):
            began = time.perf_counter()
            handle = await client.start_workflow(Item.run, "x", id=uuid.uuid4().hex, task_queue=QUEUE)
            found.start_ms.append((time.perf_counter() - began) * 1000)
            await handle.result()
            found.alone_ms.append((time.perf_counter() - began) * 1000)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with slots:
                await client.execute_workflow(Item.run, "x", id=uuid.uuid4().hex, task_queue=QUEUE)

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(items)))
        found.per_second.append(items / (time.perf_counter() - began))


async def measure_children(items: int) -> Seen:
    async with serving() as (server, client), worker(client):
        name = uuid.uuid4().hex
        return await timed(server, client, items, ParentOfChildren.run, [name, items])


async def measure_window(items: int) -> Seen:
    async with serving() as (server, client):
        window = Window(client, items)
        name = uuid.uuid4().hex
        async with worker(client, window):
            ringing = asyncio.create_task(window.ring("the-list"))
            try:
                return await timed(server, client, items, Batch.run, [name])
            finally:
                ringing.cancel()


async def timed(server: TemporalServer, client: Client, items: int, run: object, args: list[object]) -> Seen:
    """Items a second, the server's CPU in milliseconds an item, and the events of the list's own history."""
    assert server.pid is not None
    cpu, began = cpu_seconds(server.pid), time.perf_counter()
    handle = await client.start_workflow(run, args=args, id="the-list", task_queue=QUEUE)  # type: ignore[call-overload]
    await handle.result()
    took, spent = time.perf_counter() - began, cpu_seconds(server.pid) - cpu
    return items / took, spent / items * 1000, (await handle.describe()).history_length


async def measure(rounds: int, items: int) -> None:
    settings = {name: Setting([], [], []) for name in SETTINGS}
    children, windows = [], []
    for each in range(rounds):
        console.print(f"round {each + 1} of {rounds} …", style="dim")
        for name, found in settings.items():
            await measure_setting(name, items, found)
        children.append(await measure_children(items))
        windows.append(await measure_window(items))
    print_table(
        f"a workflow with one activity; {items} of them, {AT_ONCE} at once",
        ("the server's settings", "start p50", "start p99", "alone p50", "a second at once"),
        [
            (
                name,
                f"{percentile(found.start_ms, 50):.1f} ms",
                f"{percentile(found.start_ms, 99):.1f} ms",
                f"{percentile(found.alone_ms, 50):.0f} ms",
                f"{median(found.per_second):.1f} ({min(found.per_second):.1f} to {max(found.per_second):.1f})",
            )
            for name, found in settings.items()
        ],
    )
    print_table(
        f"a list of {items} items, {AT_ONCE} in flight",
        ("the items are", "a second", "server's CPU an item", "events of the list"),
        [
            (
                name,
                f"{median(each[0] for each in found):.1f}",
                f"{median(each[1] for each in found):.1f} ms",
                f"{median(each[2] for each in found):.0f}",
            )
            for name, found in (
                ("children that signal their parent", children),
                ("let go by an activity, and ring the list", windows),
            )
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=200)
    wanted = parser.parse_args()
    asyncio.run(measure(wanted.rounds, wanted.items))


if __name__ == "__main__":
    main()
