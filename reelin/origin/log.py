"""What was asked for and how much of it went out: the record that tests and benchmarks count with."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelin.origin.shaping import HungUp, connection_of


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. `bytes_sent` are those of the body that were handed to the kernel, so up to some hundred KB of
    them may never have reached a client that was killed. `status` is 0 until the answer begins."""

    method: str
    path: str
    query: str
    range: str | None
    started_at: float  #: Seconds since the epoch.
    status: int = 0
    bytes_sent: int = 0
    finished: bool = False  #: The whole answer went out.
    ended_at: float = 0  #: When its last byte was handed to the kernel; 0 until then.

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def answers(records: Iterable[RequestRecord], *, since: float = 0) -> Counter[int]:
    """How many answers there were of each status, to requests that began at `since` (seconds since the epoch) or
    later."""
    return Counter(record.status for record in records if record.started_at >= since and record.status)


class _Entry:
    """The record of a request that is being answered: only the server's thread writes, any thread reads."""

    def __init__(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.range: str | None = headers[b"range"].decode("latin-1") if b"range" in headers else None
        self.started_at = time.time()
        self.status = 0
        self.bytes_sent = 0
        self.finished = False
        self.ended_at = 0.0

    def frozen(self) -> RequestRecord:
        return RequestRecord(
            self.method,
            self.path,
            self.query,
            self.range,
            self.started_at,
            self.status,
            self.bytes_sent,
            self.finished,
            self.ended_at,
        )


class RequestLog:
    """An ASGI middleware that records every request but those for the log itself (`/_log`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._entries: list[_Entry] = []

    def records(self) -> list[RequestRecord]:
        return [entry.frozen() for entry in list(self._entries)]

    def clear(self) -> None:
        """Forget everything, also what requests that are still being answered send from now on."""
        self._entries = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/_log":
            await self._app(scope, receive, send)
            return
        entry = _Entry(scope)
        self._entries.append(entry)
        await self._app(scope, receive, _recording(entry, scope, send))


def _recording(entry: _Entry, scope: Scope, send: Send) -> Send:
    connection = connection_of(scope)
    counts_body = scope["method"] != "HEAD"

    async def recording_send(message: Message) -> None:
        if connection.is_closing():
            raise HungUp
        await send(message)
        if message["type"] == "http.response.start":
            entry.status = message["status"]
            return
        more_body = message.get("more_body", False)
        if more_body and connection.is_closing():
            raise HungUp  # it went away while the server waited for room in its buffer
        if counts_body:
            entry.bytes_sent += len(message.get("body", b""))
        if not more_body:
            entry.finished, entry.ended_at = True, time.time()

    return recording_send
