"""`reelin worker` twice on one Temporal: what the first one was doing when it was told to stop, the second one does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.api.enums.v1.workflow_pb2 import PENDING_ACTIVITY_STATE_STARTED
from temporalio.client import Client

from reelin.api.dispatcher import Dispatcher
from reelin.contracts.jobs import State
from reelin.contracts.work import WORKER_STOPPING
from reelin.library import JobRecord, Library
from reelin.origin.server import Origin
from reelin.process import in_background
from reelin.temporal import connect
from tests.library.samples import new_job
from tests.processes import end_with_the_tests
from tests.waiting import PATIENCE, eventually, promised

HANDOVERS = 3
RATE = 300_000
SIZE = 9_000_000


class Workers:
    """Processes on one data folder, and the rows that they write."""

    def __init__(self, folder: Path, client: Client, library: Library, dispatcher: Dispatcher) -> None:
        self.library = library
        self.media = folder / "media"
        self._client = client
        self._dispatcher = dispatcher
        self._log = folder / "workers.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("REELIN_", "TEMPORAL_"))},
            "REELIN_DATA_DIR": str(folder),
            "REELIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    async def start(self) -> subprocess.Popen[bytes]:
        """Returns when it asks Temporal for work."""
        before = self.said().count("worker started")
        with self._log.open("ab") as output:
            command = [sys.executable, "-m", "reelin.cli", "worker"]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                preexec_fn=end_with_the_tests,
            )
        self._processes.append(process)
        async with asyncio.timeout(PATIENCE):
            while self.said().count("worker started") == before:
                assert process.poll() is None, self.said()
                await asyncio.sleep(0.05)
        return process

    async def submit(self, name: str, url: str) -> JobRecord:
        new = replace(new_job(name), url=url, site="127.0.0.1")
        job = (await self.library.jobs.submit(new)).job
        self._dispatcher.wake()
        return job

    async def cancel(self, job: JobRecord) -> None:
        await self._client.get_workflow_handle(job.id).cancel()

    async def until(self, jobs: list[JobRecord], state: State) -> None:
        """Until all of them stand so."""

        async def stand_so() -> bool:
            return {(await self.library.jobs.get(job.id)).state for job in jobs} == {state}

        await eventually(stand_so, self.said)

    async def handed_over(self, job: JobRecord, number: int) -> None:
        """Until a worker has it for the so-manyth time after the first."""
        while True:
            description = await self._client.get_workflow_handle(job.id).describe()
            [pending] = description.raw_description.pending_activities
            if pending.attempt == number + 1 and pending.state == PENDING_ACTIVITY_STATE_STARTED:
                assert pending.last_failure.application_failure_info.type == WORKER_STOPPING
                return
            await asyncio.sleep(0.02)

    def said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait(10)


@pytest.fixture
async def workers(tmp_path: Path, temporal: Client) -> AsyncIterator[Workers]:
    async with contextlib.AsyncExitStack() as stack:
        library = Library(f"sqlite:///{tmp_path / 'reelin.db'}")
        stack.push_async_callback(library.close)
        await library.open()
        client = await connect(temporal.service_client.config.target_host, installation=library.installation)
        dispatcher = Dispatcher(library, client)
        await stack.enter_async_context(in_background(dispatcher.run))
        opened = Workers(tmp_path, client, library, dispatcher)
        stack.callback(opened.close)
        yield opened


async def test_the_next_worker_has_the_downloads_within_seconds_however_many_deploys_there_were(
    workers: Workers, origin: Origin
) -> None:
    paths = {f"handed-{number}": f"/file/{SIZE}/handed-{number}" for number in range(3)}
    old = await workers.start()
    jobs = [await workers.submit(name, origin.url_for(path, rate=RATE)) for name, path in paths.items()]
    await workers.until(jobs, State.RUNNING)
    for handover in range(1, HANDOVERS + 1):
        new = await workers.start()
        old.terminate()
        with promised(5):  # less than the heartbeat timeout
            await asyncio.gather(*(workers.handed_over(job, handover) for job in jobs))
        assert await asyncio.to_thread(old.wait, PATIENCE) == 0, workers.said()
        old = new
    await workers.until(jobs, State.COMPLETED)
    for job, path in zip(jobs, paths.values(), strict=True):
        row = await workers.library.jobs.get(job.id)
        assert (row.attempt, row.failure) == (1, None)
        assert row.result is not None
        assert (workers.media / row.result["files"][0]["path"]).read_bytes() == origin.reference(path)
        transfers = [record.bytes_sent for record in origin.requests(path) if record.bytes_sent > 200_000]
        assert 0 <= sum(transfers) - SIZE <= RATE * HANDOVERS
    old.terminate()
    assert await asyncio.to_thread(old.wait, PATIENCE) == 0, workers.said()


async def test_a_cancel_while_the_worker_stops_is_a_cancel(workers: Workers, origin: Origin) -> None:
    worker = await workers.start()
    job = await workers.submit("cancelled", origin.url_for(f"/file/{SIZE}/cancelled", rate=RATE))
    await workers.until([job], State.RUNNING)
    await workers.library.jobs.request_cancel(job.id, keep_partial=False)
    await workers.cancel(job)
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, PATIENCE) == 0, workers.said()
    await workers.start()
    await workers.until([job], State.CANCELLED)
