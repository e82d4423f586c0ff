"""One process's workers: a Temporal worker for each task queue, on one engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from reelin import __version__
from reelin.activities import (
    BatchActivities,
    Bell,
    ExpandActivity,
    FetchActivity,
    Handover,
    Housekeeping,
    LeaseActivities,
    MediaFolder,
    Places,
    Presence,
    ProbeActivity,
    Pulse,
    RecordActivities,
    Scratch,
    SiteDesk,
    Starter,
)
from reelin.contracts.work import DOWNLOAD_QUEUE, METADATA_QUEUE, WORKFLOW_QUEUE
from reelin.engine.filethreads import FileThreads
from reelin.engine.seam import Engine
from reelin.errors import StartupError
from reelin.library import Library
from reelin.process import Attention, in_background
from reelin.progress import ProgressBus
from reelin.settings import Settings
from reelin.worker.slots import download_tuner, workflow_tuner
from reelin.workflows import WORKFLOWS

log = structlog.get_logger(__name__)

#: At most so long between two heartbeats; the server gives a worker up after three of them are missing.
HEARTBEAT_INTERVAL = timedelta(seconds=2)
METADATA_AT_ONCE = 4
#: Shown in Temporal's UI. Without a name of our own the SDK hashes every loaded module, for 0.1 s.
BUILD_ID = f"reelin-{__version__}"


class Crew:
    """`library`, `bus` and `engine` are open already; the crew closes none of them."""

    def __init__(
        self,
        settings: Settings,
        *,
        client: Client,
        library: Library,
        bus: ProgressBus,
        engine: Engine,
        attention: Attention | None = None,
    ) -> None:
        self._attention = attention or Attention()
        self._settings = settings
        self._library = library
        self._threads = FileThreads("media")
        self._scratch = Scratch(settings.scratch_dir, self._threads)
        self._media = MediaFolder(
            library, self._threads, media_dir=settings.media_dir, scratch_dir=settings.scratch_dir
        )
        self._housekeeping = Housekeeping(library, self._media, self._scratch)
        self._bell = Bell(client, library)
        self._desk = SiteDesk(
            client=client, library=library, unlimited=settings.unlimited_sites, max_at_once=settings.site_max_at_once
        )
        self._workers = self._build(client, bus, engine)

    def _build(self, client: Client, bus: ProgressBus, engine: Engine) -> list[Worker]:
        library, scratch = self._library, self._scratch
        settings = self._settings
        handover = Handover(library, bus)
        desk = self._desk
        places = Places(settings.max_downloads)
        fetch = FetchActivity(
            engine=engine,
            library=library,
            bus=bus,
            scratch=scratch,
            media=self._media,
            bell=self._bell,
            desk=desk,
            places=places,
        )
        probe = ProbeActivity(engine=engine, library=library, bus=bus, scratch=scratch, media=self._media, desk=desk)
        expand = ExpandActivity(
            engine=engine,
            library=library,
            bus=bus,
            scratch=scratch,
            desk=desk,
            ring=self._bell.ring,
            presence=Presence(self._media),
            media=self._media,
            allowed=settings.egress_allow,
        )
        record = RecordActivities(library=library, bus=bus, scratch=scratch, bell=self._bell, desk=desk)
        starter = Starter(client, library, desk)
        batch = BatchActivities(
            client=client,
            library=library,
            bus=bus,
            at_once=settings.batch_at_once,
            site_limits=desk.limits,
            bell=self._bell,
            starter=starter,
        )
        leases = LeaseActivities(client=client, library=library, bus=bus, starter=starter)
        return [
            Worker(
                client,
                build_id=BUILD_ID,
                task_queue=WORKFLOW_QUEUE,
                workflows=WORKFLOWS,
                activities=[
                    record.record_waiting,
                    record.record_paused,
                    record.record_failed,
                    record.record_cancelled,
                    batch.let_go,
                    batch.call_off,
                    batch.give_up_listing,
                    leases.load_site,
                    leases.read_waiters,
                    leases.grant_leases,
                    leases.check_leases,
                    leases.record_site,
                ],
                interceptors=[handover, Pulse()],
                max_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
                default_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
                # The sandbox costs 4 ms of CPU for each workflow. What it guards against cannot happen here: workflow
                # modules import contracts only (checked in CI), and the tests run them in the sandbox.
                workflow_runner=UnsandboxedWorkflowRunner(),
                workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
                tuner=workflow_tuner(self._attention),
                max_cached_workflows=1000,
                # After a crash, tasks wait so long for the worker that had the workflow in its cache.
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
            ),
            Worker(
                client,
                build_id=BUILD_ID,
                task_queue=DOWNLOAD_QUEUE,
                activities=[fetch.fetch],
                interceptors=[handover],
                tuner=download_tuner(places),
                activity_task_poller_behavior=PollerBehaviorAutoscaling(),
                max_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
                default_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
            ),
            Worker(
                client,
                build_id=BUILD_ID,
                task_queue=METADATA_QUEUE,
                activities=[probe.probe, expand.expand],
                interceptors=[handover],
                max_concurrent_activities=METADATA_AT_ONCE,
                max_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
                default_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
            ),
        ]

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Works while the block runs. Leaving it, downloads stop where they are and keep their bytes, what is being
        published is finished, and Temporal hands the rest to the next worker (`activities/handover.py`)."""
        await self._threads.run(_make_folders, self._settings)
        await self._media.prepare()
        log.info("worker started", max_downloads=self._settings.max_downloads)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._bell.close)
            stack.push_async_callback(self._desk.close)
            await stack.enter_async_context(in_background(self._housekeeping.run))
            for worker in self._workers:
                await stack.enter_async_context(worker)
            yield
            await asyncio.gather(*(worker.shutdown() for worker in self._workers))
        log.info("worker stopped")


def _make_folders(settings: Settings) -> None:
    """The media folder is made where it is adopted: an empty mount point must not look like it."""
    for folder in (settings.data_dir, settings.cookies_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".reelin-write-test"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise StartupError(
                f"The folder {folder} cannot be written ({error.strerror}). "
                "Give it to this user, or choose another with REELIN_DATA_DIR."
            ) from error
