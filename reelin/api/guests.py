"""Clients that stay: each stream, WebSocket and file that is sent takes open files, and downloads need some too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from reelin.api.handlers import busy
from reelin.filelimit import FileLimit, open_files_limit, share

TRY_AGAIN_LATER = 1013
_STREAM = re.compile(r"/api/(jobs/[^/]+/)?events")
_FILE = re.compile(r"/api/videos/[^/]+/files/[^/]+")
_log = structlog.get_logger(__name__)


class Guests:
    """How many there are, and whether another finds a place."""

    def __init__(self, limit: FileLimit | None = None) -> None:
        self.limit = limit or share(open_files_limit(), max_downloads=0)
        self.watching = 0
        self.files = 0
        self._turned_away = False

    @property
    def full(self) -> bool:
        return self.watching + 2 * self.files >= self.limit.guests

    @contextmanager
    def staying(self, *, with_file: bool) -> Iterator[None]:
        """Of one that was let in."""
        self._turned_away = False
        self.watching, self.files = self.watching + (not with_file), self.files + with_file
        try:
            yield
        finally:
            self.watching, self.files = self.watching - (not with_file), self.files - with_file

    def turn_away(self) -> str:
        """What the one beyond them is told. The log hears it once, and not of each."""
        if not self._turned_away:
            _log.warning(
                "no more streams: the files that are left are for downloads",
                streams=self.watching,
                open_files_limit=self.limit.limit,
            )
        self._turned_away = True
        return f"{self.shortage} Try again later."

    @property
    def shortage(self) -> str:
        """What is to be said once it is full."""
        places = f"All {self.limit.guests} places for streams and files are taken; downloads go on."
        return f"{places} The limit of open files is {self.limit.limit}."


class GuestLimit:
    """Refuses those beyond: 503 with Retry-After, and a WebSocket is closed with 1013 (try again later)."""

    def __init__(self, app: ASGIApp, *, guests: Guests) -> None:
        self._app = app
        self._guests = guests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _stays(scope):
            await self._app(scope, receive, send)
        elif self._guests.full:
            refuse = _close if scope["type"] == "websocket" else _unavailable
            await refuse(self._guests.turn_away(), scope, receive, send)
        else:
            with self._guests.staying(with_file=_FILE.fullmatch(scope["path"]) is not None):
                await self._app(scope, receive, send)


def _stays(scope: Scope) -> bool:
    if scope["type"] == "websocket":
        return True
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    path = scope["path"]
    return bool(_STREAM.fullmatch(path) or _FILE.fullmatch(path) or b"wait=" in scope["query_string"])


async def _unavailable(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    await busy(reason, scope["path"])(scope, receive, send)


async def _close(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Accepted first: a browser is told neither status nor reason of a handshake that fails."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": reason})
