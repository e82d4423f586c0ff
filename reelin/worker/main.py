"""`reelin worker`: workflows and activities, on a Temporal that runs elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog

from reelin.activities import extra_places
from reelin.contracts.work import DOWNLOAD_QUEUE
from reelin.engine.claims import Ledger
from reelin.engine.disk import Disk
from reelin.engine.filethreads import FileThreads
from reelin.engine.frugal import FrugalEngine
from reelin.engine.guard.process import GuardProcess
from reelin.engine.pool import EnginePool
from reelin.engine.seam import Engine
from reelin.library import Library
from reelin.logs import configure_logs
from reelin.process import run, spare_the_collector, stop_signal
from reelin.progress import MemoryBus
from reelin.scope import queue_name
from reelin.settings import Settings
from reelin.temporal import connect, ensure_search_attributes
from reelin.worker.crew import METADATA_AT_ONCE, Crew

log = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> None:
    """Runs until SIGINT or SIGTERM. Raises StartupError."""
    configure_logs(settings.log_level, settings.log_format)
    run(_work(settings))


async def _work(settings: Settings) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stopped = await stack.enter_async_context(stop_signal())
        engine = await stack.enter_async_context(open_engine(settings))
        library = Library(settings.database_url)
        stack.push_async_callback(library.close)
        await library.open()
        client = await connect(installation=library.installation)
        await ensure_search_attributes(client)
        log.info("listening on Temporal", namespace=client.namespace, task_queue=queue_name(client, DOWNLOAD_QUEUE))
        crew = Crew(settings, client=client, library=library, bus=MemoryBus(), engine=engine)
        async with crew.working():
            spare_the_collector()
            await stopped.wait()


@contextlib.asynccontextmanager
async def open_engine(settings: Settings) -> AsyncIterator[Engine]:
    """The real engine, warm. Raises StartupError where ffmpeg is missing."""
    pool = EnginePool(
        max_children=settings.max_downloads + extra_places(settings.max_downloads) + METADATA_AT_ONCE,
        stall_seconds=settings.stall_seconds,
        cookies_dir=settings.cookies_dir,
        guard=GuardProcess(settings.egress_allow),
        scratch_root=settings.scratch_dir,
    )
    await pool.start()
    disk = Disk(settings.media_dir, settings.min_free_bytes)
    try:
        yield FrugalEngine(pool, disk, Ledger(settings.scratch_dir / ".claims"), FileThreads("room"))
    finally:
        await pool.close()
