"""The worker's side of the guard: start it, start it again if it dies, end it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import subprocess
import sys

import structlog

from reelin.contracts.urls import IPNetwork
from reelin.engine.guard.charge import READY, Charge
from reelin.errors import StartupError

_START_SECONDS = 30.0
_AGAIN_SECONDS = 1.0
_BACKLOG = 1024

log = structlog.get_logger(__name__)


class GuardProcess:
    """Between `start` and `close`, within one event loop. `allowed` are the private ranges that are opened.

    The listening socket is the worker's, and each guard process inherits it: so the port stays the same, and a child
    that connects while there is no guard waits until there is one again.
    """

    def __init__(self, allowed: tuple[IPNetwork, ...] = ()) -> None:
        self._charge = Charge(token=secrets.token_urlsafe(32), allowed=allowed)
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: asyncio.StreamWriter | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`"""
        assert self._listener is not None
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    @property
    def token(self) -> str:
        """Without it the guard serves nobody: other users of the machine can reach its port too."""
        return self._charge.token

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Raises StartupError."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        try:
            ended = await self._launch()
        except BaseException:
            self._listener.close()
            raise
        self._supervisor = asyncio.create_task(self._supervise(ended), name="engine-guard")

    async def close(self) -> None:
        """It is gone when this returns."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        self._end()
        if self._listener is not None:
            self._listener.close()

    async def _supervise(self, ended: asyncio.StreamReader) -> None:
        while True:
            await ended.read()
            log.error("the egress guard ended; starting it again", pid=self.pid)
            self._end()
            while True:
                try:
                    ended = await self._launch()
                    break
                except (StartupError, OSError) as error:
                    log.error("the egress guard does not start", error=str(error))
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _launch(self) -> asyncio.StreamReader:
        """The guard's end of the control socket: it ends with the guard. Raises StartupError."""
        assert self._listener is not None
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = (self._listener.fileno(), theirs.fileno())
            self._process = subprocess.Popen(  # noqa: ASYNC220  (it only forks; that it serves is awaited below)
                [sys.executable, "-m", "reelin.engine.guard", *map(str, inherited)],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        reader, self._control = await asyncio.open_unix_connection(sock=ours)
        self._control.write(self._charge.model_dump_json().encode() + b"\n")
        try:
            async with asyncio.timeout(_START_SECONDS):
                answer = await reader.readline()
        except (TimeoutError, ConnectionError):
            answer = b""
        except BaseException:
            self._end()
            raise
        if answer != READY:
            self._end()
            raise StartupError("The egress guard does not start; what it says stands above.")
        return reader

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
