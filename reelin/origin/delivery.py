"""Serves a direct file: ranges, validators, HEAD."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from reelin.origin.content import Content

#: Fixed, as the content is. Another generation was modified days later.
_MODIFIED_AT = datetime(2015, 1, 1, tzinfo=UTC)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Delivery:
    """A response with the content, or with the range of it that was asked for."""

    def __init__(self, content: Content, generation: int = 0) -> None:
        self._content = content
        self._last_modified = format_datetime(_MODIFIED_AT + timedelta(days=generation), usegmt=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Headers(scope=scope)
        n_bytes = self._content.n_bytes
        asked = request.get("range") if self._still_valid(request.get("if-range")) else None
        span = parse_range(asked, n_bytes)
        headers = {
            "content-type": self._content.media_type,
            "accept-ranges": "bytes",
            "etag": self._content.etag,
            "last-modified": self._last_modified,
        }
        if span is None:
            status, span = 200, (0, n_bytes)
        elif span[0] >= span[1]:
            status, span = 416, (0, 0)
            headers["content-range"] = f"bytes */{n_bytes}"
        else:
            status = 206
            headers["content-range"] = f"bytes {span[0]}-{span[1] - 1}/{n_bytes}"
        headers["content-length"] = str(span[1] - span[0])
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        if scope["method"] != "HEAD":
            await self._send_body(span, send)
        else:
            await send({"type": "http.response.body"})

    async def _send_body(self, span: tuple[int, int], send: Send) -> None:
        position, stop = span
        for chunk in self._content.chunks(position, stop):
            position += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": position < stop})
        if span[0] == stop:
            await send({"type": "http.response.body"})

    def _still_valid(self, if_range: str | None) -> bool:
        return if_range is None or if_range in (self._content.etag, self._last_modified)


def parse_range(header: str | None, n_bytes: int) -> tuple[int, int] | None:
    """The start and stop that a Range header asks of `n_bytes`: empty if it lies outside, None for all of them.

    Several ranges at once, and what is no range at all, may be answered with everything (RFC 9110, 14.2).
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        return max(0, n_bytes - int(last)), n_bytes
    stop = min(int(last) + 1, n_bytes) if last else n_bytes
    return None if last and int(last) < int(first) else (min(int(first), n_bytes), stop)
