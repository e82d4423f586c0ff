"""The engine: a pool of warm child processes, one per running download."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Mapping
from pathlib import Path

from reelin.contracts.failures import FailureKind
from reelin.contracts.media import Downloaded, Extracted
from reelin.engine.childprocess import ChildDied, ChildProcess
from reelin.engine.cookies import read_jar
from reelin.engine.forkserver import ForkServerHandle, ForkServerLost
from reelin.engine.guard.process import GuardProcess
from reelin.engine.programs import find_ffmpeg
from reelin.engine.seam import DownloadTask, ExpandTask, ExtractTask, Listing, ReportSink, Task
from reelin.engine.stall import Patience
from reelin.engine.wire import Finished, GuardAddress, Launch, Limits, Order
from reelin.errors import MediaFailure, PlaylistFound, StartupError, is_exhaustion

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
#: A child beyond `idle_children` is kept so long: in a busy hour the next task is milliseconds away.
_SURPLUS_SECONDS = 5.0


class EnginePool:
    """Implements `seam.Engine`. Between `start` and `close`, within one event loop.

    `max_children` bounds what runs at once; a further call waits. `environment` is added to what the children see.
    `guard` is started and closed with the pool, and all traffic goes through it; None leaves traffic unguarded.
    With a `scratch_root`, below which all tasks' folders are, each child is sandboxed as far as the kernel can. It is
    there by the time of the first task.
    """

    def __init__(
        self,
        *,
        cookies_dir: Path,
        max_children: int = 16,
        idle_children: int = 2,
        recycle_after: int = 50,
        stall_seconds: float = 30,
        ffmpeg: Path | None = None,
        environment: Mapping[str, str] | None = None,
        guard: GuardProcess | None = None,
        scratch_root: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._launch = Launch(
            ffmpeg=str(ffmpeg or find_ffmpeg()),
            scratch_root=str(scratch_root) if scratch_root else None,
            limits=limits or Limits(),
        )
        self._cookies_dir = cookies_dir
        self._environment = dict(environment or {})
        self._guard = guard
        self._idle_children = min(idle_children, max_children)
        self._max_children = max_children
        self._recycle_after = recycle_after
        self._stall_seconds = stall_seconds
        self._slots = asyncio.Semaphore(max_children)
        self._server: ForkServerHandle | None = None
        self._starting = asyncio.Lock()
        self._idle: list[ChildProcess] = []
        self._running: dict[ChildProcess, str] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._closed = False

    async def start(self) -> None:
        """Returns when the first downloads can run. Raises StartupError."""
        if self._guard is not None:
            await self._guard.start()
            address = GuardAddress(address=self._guard.address, token=self._guard.token)
            self._launch = self._launch.model_copy(update={"guard": address})
        try:
            await self._live_server()
        except BaseException:
            await self.close()
            raise
        self._keeper = asyncio.create_task(self._keep_warm(), name="engine-keep-warm")

    async def close(self) -> None:
        """End every child and the fork server; they are gone when this returns."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._server is not None:
            await self._server.close()
        for child in self._idle:
            child.dismiss()
        if self._guard is not None:
            await self._guard.close()
        self._idle.clear()

    @property
    def fork_server_pid(self) -> int | None:
        return self._server.pid if self._server else None

    @property
    def idle_pids(self) -> tuple[int, ...]:
        return tuple(child.pid for child in self._idle)

    @property
    def running_pids(self) -> dict[str, int]:
        """By job id: the leader of the process group that works for it."""
        return {job_id: child.pid for child, job_id in self._running.items()}

    async def download(self, task: DownloadTask, report: ReportSink) -> Downloaded:
        finished = await self._run(Order(download=task, cookies=await self._cookies(task)), report)
        if finished.playlist is not None:
            raise PlaylistFound(finished.playlist.title, finished.playlist.count)
        if finished.downloaded is None:
            raise MediaFailure(FailureKind.INTERNAL, "The engine gave no answer.")
        return finished.downloaded

    async def extract(self, task: ExtractTask, report: ReportSink) -> Extracted:
        finished = await self._run(Order(extract=task, cookies=await self._cookies(task)), report)
        if finished.extracted is None:
            raise MediaFailure(FailureKind.INTERNAL, "The engine gave no answer.")
        return finished.extracted

    async def expand(self, task: ExpandTask, report: ReportSink) -> Listing:
        finished = await self._run(Order(expand=task, cookies=await self._cookies(task)), report)
        if finished.listing is None:
            raise MediaFailure(FailureKind.INTERNAL, "The engine gave no answer.")
        return finished.listing

    async def _cookies(self, task: Task) -> str | None:
        name = task.options.cookies
        return None if name is None else await asyncio.to_thread(read_jar, self._cookies_dir, name)

    async def _run(self, order: Order, report: ReportSink) -> Finished:
        """A task whose process was lost through no fault of its own runs once more."""
        async with self._slots:
            try:
                return await self._run_once(order, report, fresh=order.cookies is not None)
            except (ForkServerLost, ChildDied):
                pass
            try:
                return await self._run_once(order, report, fresh=True)
            except (ForkServerLost, ChildDied) as error:
                text = "The engine's processes ended."
                raise MediaFailure(FailureKind.INTERNAL, text, detail=f"twice; {error}") from error

    async def _run_once(self, order: Order, report: ReportSink, *, fresh: bool) -> Finished:
        """Raises ForkServerLost or ChildDied for what is worth another run.

        A `fresh` child is one that no site has had to do with yet: only such a one sees cookies.
        """
        child = await self._lease(fresh=fresh)
        self._running[child] = order.task.job_id
        patience = Patience(self._stall_seconds)
        try:
            finished = await child.run(order, report, patience)
        except MediaFailure:
            self._give_back(child, order)
            raise
        except TimeoutError as error:
            await child.kill()
            raise patience.failure() from error
        except ChildDied as error:
            await child.kill()
            if error.unheard or self._server is None or self._server.lost:
                raise
            raise MediaFailure(FailureKind.INTERNAL, "The engine's process ended.", detail=str(error)) from error
        except BaseException:  # Cancelled: nobody wants the result, and nothing may go on working for it.
            await child.kill()
            raise
        else:
            self._give_back(child, order)
            return finished
        finally:
            del self._running[child]

    async def _lease(self, *, fresh: bool) -> ChildProcess:
        """The child used last: its memory is the warmest. Else a new one."""
        while self._idle and not fresh:
            child = self._idle.pop()
            if not child.exited:
                self._wanted.set()
                return child
            child.dismiss()
        try:
            return await self._spawn()
        except (OSError, StartupError, MemoryError) as error:
            text = "No process could be started for this download."
            kind = FailureKind.INTERNAL
            if is_exhaustion(error, starting=True) or _said_exhaustion(error):
                kind = FailureKind.RESOURCES_EXHAUSTED
            raise MediaFailure(kind, text, detail=str(error)) from error

    async def _spawn(self) -> ChildProcess:
        server = await self._live_server()
        return await server.spawn()

    def _give_back(self, child: ChildProcess, order: Order) -> None:
        """One that has seen cookies ends with them."""
        if child.exited or self._closed or child.jobs >= self._recycle_after or order.cookies is not None:
            child.dismiss()
        else:
            child.idle_since = time.monotonic()
            self._idle.append(child)
        self._wanted.set()

    async def _live_server(self) -> ForkServerHandle:
        async with self._starting:
            if self._closed:
                raise MediaFailure(FailureKind.INTERNAL, "The engine is closed.")
            if self._server is not None and self._server.lost:
                await self._server.close()
                self._server = None
            if self._server is None:
                self._server = await ForkServerHandle.start(self._launch, self._environment)
            return self._server

    async def _keep_warm(self) -> None:
        """Idle children for the next tasks, and no more of them than that for long."""
        while True:
            try:
                self._dismiss_surplus()
                await self._top_up()
            except (ForkServerLost, StartupError, OSError):
                await asyncio.sleep(1)  # The next task that needs a child says what is wrong.
                continue
            self._wanted.clear()
            try:
                async with asyncio.timeout(_SURPLUS_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def _top_up(self) -> None:
        while len(self._idle) < self._idle_children and len(self._idle) + len(self._running) < self._max_children:
            self._idle.insert(0, await self._spawn())

    def _dismiss_surplus(self) -> None:
        """What has died, and what has rested for seconds: those too many, and those that have worked. A fresh child
        shares nearly all of its memory with the fork server, and no site has seen it."""
        tired = [child for child in self._idle if child.exited or (child.jobs and _rested(child))]
        fresh = [child for child in self._idle if child not in tired]
        tired += [child for child in fresh[: max(0, len(fresh) - self._idle_children)] if _rested(child)]
        for child in tired:
            self._idle.remove(child)
            child.dismiss()


def _said_exhaustion(error: BaseException) -> bool:
    """Of a fork server that could not start: its last words are all that is left of it."""
    said = str(error)
    return isinstance(error, StartupError) and any(os.strerror(number) in said for number in _EXHAUSTED)


def _rested(child: ChildProcess) -> bool:
    return time.monotonic() - child.idle_since >= _SURPLUS_SECONDS
