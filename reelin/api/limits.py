"""How much a request's body may hold."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelin.api.handlers import unprocessable
from reelin.api.problems import FieldError

MAX_BODY_BYTES = 8 * 1024 * 1024
#: A list of 100,000 URLs.
MAX_LIST_BYTES = 32 * 1024 * 1024
_LISTS = frozenset({"/api/jobs"})
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class BodyLimit:
    """Collects the body before the route sees it, and refuses one that is too long, announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._app(scope, receive, send)
            return
        most = MAX_LIST_BYTES if scope["path"] in _LISTS else MAX_BODY_BYTES
        body = None if self._announced(scope) > most else await self._collected(receive, most)
        if body is None:
            await unprocessable(scope["path"], self._too_long(most))(scope, receive, send)
        else:
            await self._app(scope, _Replay(body, receive), send)

    def _announced(self, scope: Scope) -> int:
        length = Headers(scope=scope).get("content-length", "")
        return int(length[:18]) if length.isdecimal() and length.isascii() else 0

    async def _collected(self, receive: Receive, most: int) -> bytes | None:
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > most:
                return None
            more = message.get("more_body", False)
        return b"".join(chunks)

    def _too_long(self, most: int) -> FieldError:
        limit = f"{most // (1024 * 1024)} MB"
        return FieldError(
            field="body", message=f"The body is longer than {limit}.", remedy=f"Send at most {limit} at once."
        )


class _Replay:
    """A `receive` that gives the collected body first."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}
