"""Takes connections in only while there are files for them, so that each gets an answer.

A server that accepts all that knock runs out of files, and whoever comes then is closed without a word; worse, so is
every file that a download wants to open. Here the others wait in the kernel's line until some have gone; where none
go, they are told to come back.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import structlog

from reelin.api.handlers import busy
from reelin.errors import is_exhaustion

#: So long a connection beyond the limit waits for others to go: whoever is refused a stream goes at once.
PATIENCE_SECONDS = 1.0
_LOOK_SECONDS = 0.01
#: Those that are being refused, at once, and for how long each may take to say what it wanted.
_REFUSED_AT_ONCE = 8
_REFUSED_SECONDS = 2.0
_FULL = "There are no files left for another connection; downloads go on. Try again later."
_log = structlog.get_logger(__name__)


class Acceptor:
    """`make_protocol` makes what serves a connection, `room` says whether there is room for one."""

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol], room: Callable[[], bool]
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._room = room
        self._refused: set[Refusal] = set()
        self._full = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            await self._wait_for_room()
            try:
                client, _ = await loop.sock_accept(self._listener)
                factory = self._make_protocol if self._room() else self._refusal
                await loop.connect_accepted_socket(factory, client)
            except OSError as error:
                if is_exhaustion(error):
                    _log.warning("no file is left for a connection; it waits", reason=error.strerror)
                elif not isinstance(error, ConnectionError):  # of one client that has gone again
                    raise
                await asyncio.sleep(_LOOK_SECONDS)

    async def _wait_for_room(self) -> None:
        """Where nobody goes for a while, those who come are refused at once until somebody does."""
        loop = asyncio.get_running_loop()
        patience_ends = loop.time() + (0 if self._full else PATIENCE_SECONDS)
        while not self._room():
            if loop.time() >= patience_ends and len(self._refused) < _REFUSED_AT_ONCE:
                self._full = True
                return
            await asyncio.sleep(_LOOK_SECONDS)
        self._full = False

    def _refusal(self) -> asyncio.Protocol:
        refusal = Refusal(self._refused)
        self._refused.add(refusal)
        return refusal


class Refusal(asyncio.Protocol):
    """Answers whatever is asked with 503, and hangs up. It is in `others` as long as its connection lasts."""

    def __init__(self, others: set[Refusal]) -> None:
        self._others = others
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._timer = asyncio.get_running_loop().call_later(_REFUSED_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():  # only now: what it sends would undo the answer of a closed connection
            self._transport.write(_refusal())
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._others.discard(self)


def _refusal() -> bytes:
    response = busy(_FULL, "/")
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + fields + b"\r\n" + bytes(response.body)
