"""Applies faults to the answers of any ASGI app: it knows requests and bodies, not what is served."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from typing import NoReturn

from starlette.datastructures import MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelin.origin.faults import BadFault, Faults, Plan, plan
from reelin.origin.turnstile import Turnstile

_VALIDATORS = {"etag": "etag", "date": "last-modified"}
_SLICE_SECONDS = 0.02
#: How far a body may lag behind its rate and still catch up. A real link has no more to give than its rate, but the
#: pauses of a busy machine should not make it slower.
_CATCH_UP_SECONDS = 0.25


class HungUp(Exception):
    """The connection is gone, by the client's will or by a fault's: nothing more can be answered."""


def connection_of(scope: Scope) -> asyncio.Transport:
    """The transport that the protocol in `server.py` puts into the scope."""
    connection: asyncio.Transport = scope["state"]["connection"]
    return connection


def generation_of(scope: Scope) -> int:
    """Which generation of its content this request is to get."""
    generation: int = scope["state"].get("generation", 0)
    return generation


class FaultyApp:
    """An ASGI middleware: counts the requests of each path and key, and disturbs them as their URL asks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._requests: Counter[tuple[str, str]] = Counter()
        self._turnstiles: defaultdict[str, Turnstile] = defaultdict(Turnstile)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = QueryParams(scope["query_string"])
        counted = (scope["path"], query.get("key", ""))
        self._requests[counted] += 1
        try:
            todo = plan(Faults.parse(query), self._requests[counted])
        except BadFault as error:
            await PlainTextResponse(f"{error}\n", 400)(scope, receive, send)
            return
        if todo.faults.max_rate is None and todo.faults.max_connections is None:
            await self._answer(todo, scope, receive, send)
            return
        with self._turnstiles[query.get("key", "")].passing(todo.faults) as let_in:
            answer = self._answer if let_in else self._refuse
            await answer(todo, scope, receive, send)

    async def _refuse(self, todo: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        await _failure(replace(todo, fail_status=429))(scope, receive, send)

    async def _answer(self, todo: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        if todo.faults.latency_ms:
            await asyncio.sleep(todo.faults.latency_ms / 1000)
        if todo.fail_status is not None:
            await _failure(todo)(scope, receive, send)
            return
        scope["state"]["generation"] = todo.generation
        if todo.faults.ignore_range or todo.faults.no_length:
            scope["headers"] = [header for header in scope["headers"] if header[0] not in (b"range", b"if-range")]
        if todo.faults.no_length:
            send = _without(send, "content-length", "accept-ranges")
        if todo.faults.validators is not None:
            kept = _VALIDATORS.get(todo.faults.validators)
            send = _without(send, *(name for name in _VALIDATORS.values() if name != kept))
        if todo.shapes_body and scope["method"] != "HEAD":
            send = ShapedBody(todo, connection_of(scope), receive, send)
        await self._app(scope, receive, send)


def _failure(todo: Plan) -> PlainTextResponse:
    headers = {"Retry-After": todo.faults.retry_after} if todo.faults.retry_after is not None else {}
    if todo.fail_status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="origin"'
    status = todo.fail_status or 500
    text = None if status in (204, 304) else "This failure was asked for.\n"
    return PlainTextResponse(text, status, headers)


def _without(send: Send, *names: str) -> Send:
    async def send_the_rest(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name in names:
                del headers[name]
        await send(message)

    return send_the_rest


class ShapedBody:
    """A `send` that lets the body through in slices: at a rate, up to where it is cut off or stalls."""

    def __init__(self, todo: Plan, connection: asyncio.Transport, receive: Receive, send: Send) -> None:
        self._todo = todo
        self._connection = connection
        self._receive = receive
        self._send = send
        self._pace = Pace(todo.faults.rate) if todo.faults.rate is not None else None
        self._n_sent = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        rest = memoryview(message.get("body", b""))
        while rest:
            n_bytes = await self._allowed(len(rest))
            part, rest = rest[:n_bytes], rest[n_bytes:]
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
            self._n_sent += len(part)
        if not message.get("more_body", False):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _allowed(self, n_bytes: int) -> int:
        """How many of `n_bytes` may go out now; comes back when they may."""
        if self._todo.drop_after is not None:
            n_bytes = min(n_bytes, self._todo.drop_after - self._n_sent) or self._drop()
        if self._todo.stall_after is not None:
            n_bytes = min(n_bytes, self._todo.stall_after - self._n_sent) or await self._stall()
        if self._pace is not None:
            n_bytes = min(n_bytes, self._pace.slice_bytes)
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(self._pace.next_at(n_bytes, now) - now)
        return n_bytes

    def _drop(self) -> NoReturn:
        self._connection.close()  # what is in the buffer still goes out, so the cut is exact
        raise HungUp

    async def _stall(self) -> NoReturn:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise HungUp


class Pace:
    """Says when the next bytes of a body may go out so that it flows evenly. It knows no clock but what it is told."""

    def __init__(self, bytes_per_second: int) -> None:
        self.slice_bytes = max(1, int(bytes_per_second * _SLICE_SECONDS))
        self._bytes_per_second = bytes_per_second
        self._due: float | None = None

    def next_at(self, n_bytes: int, now: float) -> float:
        """When the next `n_bytes` may go out, at the earliest `now`: the last byte, too, when its rate allows it."""
        due = now if self._due is None else max(self._due, now - _CATCH_UP_SECONDS)
        self._due = due + n_bytes / self._bytes_per_second
        return max(self._due, now)
