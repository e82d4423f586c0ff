"""The proxy that all of the engine's traffic goes through: CONNECT, and plain HTTP with the whole URL.

It knows who asks by a token, and which task by the user name, so that a task can ask why it was refused: neither
ffmpeg nor curl passes on what a proxy says.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
from collections import OrderedDict

from reelin.contracts.failures import FailureKind
from reelin.engine.guard.dial import Dialer, DialFailed
from reelin.engine.guard.heads import MAX_HEAD, BadRequest, Request, end_of_head, request_of
from reelin.engine.guard.relay import PlainAnswer, hang_up, relay

_HEAD_SECONDS = 30.0
_REMEMBERED_TASKS = 1000
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

#: engine/child/phrases.py reads these back.
_STATUS_LINES = {
    FailureKind.BLOCKED_ADDRESS: "403 Blocked address",
    FailureKind.DNS: "502 Name resolution failed",
    FailureKind.NETWORK: "502 Connection failed",
    FailureKind.RESOURCES_EXHAUSTED: "503 Too many open files",
}


class Proxy:
    """Serves until it is cancelled."""

    def __init__(self, dialer: Dialer, token: str) -> None:
        self._dialer = dialer
        self._token = token
        self._last_failures: OrderedDict[str, DialFailed] = OrderedDict()
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError:  # No descriptor is left; the connection waits in the backlog until one is.
                await asyncio.sleep(0.05)
                continue
            task = asyncio.create_task(self._attend(client))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _attend(self, client: socket.socket) -> None:
        with client:
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                async with asyncio.timeout(_HEAD_SECONDS):
                    head, rest = await _read_head(client)
                await self._answer(client, request_of(head), rest)
            except BadRequest as error:
                await _say(client, "400 Bad request", str(error))
            except OSError:  # Someone hung up, or said nothing (TimeoutError): there is nobody to tell.
                pass

    async def _answer(self, client: socket.socket, request: Request, rest: bytes) -> None:
        if not hmac.compare_digest(request.password.encode(), self._token.encode()):
            await _say(client, "407 Proxy authentication required", "", 'Proxy-Authenticate: Basic realm="Reelin"\r\n')
        elif not request.host:
            await self._tell_last_failure(client, request.user)
        else:
            await self._forward(client, request, rest)

    async def _forward(self, client: socket.socket, request: Request, rest: bytes) -> None:
        try:
            server = await self._dialer.connect(request.host, request.port)
        except DialFailed as failure:
            self._remember(request.user, failure)
            await _say(client, _STATUS_LINES[failure.kind], failure.host)
            return
        with server:
            if request.onward is None:
                await asyncio.get_running_loop().sock_sendall(client, _ESTABLISHED)
                await relay(client, server, send_first=rest)
            else:
                bodiless = request.onward.startswith(b"HEAD ")
                await relay(client, server, send_first=request.onward + rest, answer=PlainAnswer(bodiless=bodiless))

    def _remember(self, user: str, failure: DialFailed) -> None:
        self._last_failures[user] = failure
        self._last_failures.move_to_end(user)
        while len(self._last_failures) > _REMEMBERED_TASKS:
            self._last_failures.popitem(last=False)

    async def _tell_last_failure(self, client: socket.socket, user: str) -> None:
        failure = self._last_failures.pop(user, None)
        answer = {} if failure is None else {"kind": failure.kind.value, "host": failure.host}
        await _say(client, "200 OK", json.dumps(answer))


async def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head, and what has come after it. Raises BadRequest, or ConnectionResetError if it ends before."""
    data = bytearray()
    while (end := end_of_head(data)) is None:
        if len(data) > MAX_HEAD:
            raise BadRequest("the head is too long")
        more = await asyncio.get_running_loop().sock_recv(client, MAX_HEAD)
        if not more:
            raise ConnectionResetError
        data += more
    return bytes(data[:end]), bytes(data[end:])


async def _say(client: socket.socket, status: str, body: str, fields: str = "") -> None:
    content = body.encode()
    head = f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    await asyncio.get_running_loop().sock_sendall(client, head.encode() + content)
    await hang_up(client)
