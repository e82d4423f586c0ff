"""One child as the worker sees it: a channel, a process group, and how it ended."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

from reelin.engine.seam import ReportSink
from reelin.engine.stall import Patience
from reelin.engine.trees import kill_tree, tree_exists
from reelin.engine.wire import NEWS, Failed, Finished, News, Order, Reported, line
from reelin.errors import MediaFailure

#: The longest line is the description of a video with thousands of formats.
_MAX_LINE = 64 * 1024 * 1024
_GONE_SECONDS = 0.3
_STATUS_SECONDS = 0.5
_POLL_SECONDS = 0.002


class ChildDied(Exception):
    """The child ended in the middle of a task, or had ended before it took the task up (`unheard`)."""

    def __init__(self, how: str, *, unheard: bool) -> None:
        super().__init__(how)
        self.unheard = unheard


class ChildProcess:
    """`jobs` counts the tasks that it was given. One task at a time."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.jobs = 0
        self.idle_since = time.monotonic()
        self._reader = reader
        self._writer = writer
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def attach(cls, pid: int, connection: socket.socket) -> ChildProcess:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_MAX_LINE)
        return cls(pid, reader, writer)

    @property
    def exited(self) -> bool:
        return self._status.done()

    def has_exited(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)

    async def run(self, order: Order, report: ReportSink, patience: Patience) -> Finished:
        """Raises MediaFailure (the child is still good), TimeoutError (it stalls) or ChildDied."""
        self.jobs += 1
        unheard = True
        try:
            self._writer.write(line(order))
            while True:
                async with asyncio.timeout(patience.remaining_seconds()):
                    news = await self._next()
                unheard = False
                patience.note(news)
                if isinstance(news, Finished):
                    return news
                if isinstance(news, Failed):
                    raise _as_error(news)
                if isinstance(news, Reported):
                    report(news.report)
        except ConnectionError as error:
            raise ChildDied(await self._how_it_ended(), unheard=unheard) from error

    async def kill(self) -> None:
        """The whole process group, at once; returns when all of it is gone."""
        if not self.exited:  # Else the fork server has killed its group already, and the number may be another's.
            kill_tree(self.pid)
        deadline = time.monotonic() + _GONE_SECONDS
        while tree_exists(self.pid) and time.monotonic() < deadline:  # noqa: ASYNC110  (its end has no event)
            await asyncio.sleep(_POLL_SECONDS)
        self._writer.close()

    def dismiss(self) -> None:
        """End an idle child: it leaves when its channel ends."""
        self._writer.close()

    async def _next(self) -> News:
        text = await self._reader.readline()
        if not text.endswith(b"\n"):
            raise ConnectionResetError("the channel ended")
        return NEWS.validate_json(text)

    async def _how_it_ended(self) -> str:
        try:
            async with asyncio.timeout(_STATUS_SECONDS):
                return _phrase(await asyncio.shield(self._status))
        except TimeoutError:
            return "it closed its channel"


def _as_error(failed: Failed) -> MediaFailure:
    return MediaFailure(
        failed.kind, failed.message, retry_after_seconds=failed.retry_after_seconds, detail=failed.detail
    )


def _phrase(status: int) -> str:
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
