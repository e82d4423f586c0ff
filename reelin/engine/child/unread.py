"""The answer that the generic extractor asks for to see what a URL is, and leaves alone when it is the media itself.

Asking for the same file once more would cost a connection, and send a small file over the network twice. Where an
earlier attempt has left some of the file, that request asks for the rest already: its answer tells as much.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from urllib3 import HTTPResponse
from yt_dlp.networking import Request, Response
from yt_dlp.networking.exceptions import HTTPError

from reelin.engine.child.partial import Partial, left_of
from reelin.engine.child.transfer import conditions, overlap_of, worth_another_try

_MEDIA = ("video/", "audio/")
_CONDITIONS = ("Range", "If-Range")


class Unread:
    """The latest answer that may be the download itself: `note` them all, then `take` it, once."""

    def __init__(self) -> None:
        self._answer: Response | None = None
        self._conditions: tuple[str | None, ...] = ()

    def note(self, request: Request, answer: Response) -> None:
        """An older one is not closed here: the extractor that asked for it may be reading it."""
        if _is_simple(request) and answer.status in (200, 206) and _is_media(answer):
            self._answer, self._conditions = answer, _conditions(request)

    def take(self, request: Request) -> Response | None:
        """The answer to `request`, if it is there; what it was kept for is over in any case."""
        answer, self._answer = self._answer, None
        if answer is None:
            return None
        same = _is_simple(request) and answer.url == request.url and self._conditions == _conditions(request)
        if same and _is_untouched(answer):
            return answer
        answer.close()
        return None

    def drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None


class RestOfFile:
    """Asks for the rest of a direct file of which `folder` holds some, in place of the extractor's first request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked = False

    def ask(self, request: Request, send: Callable[[Request], Response]) -> Response | None:
        """None where there is nothing to go on from, or the answer would not tell what a plain one does."""
        if self._asked or not _is_simple(request) or any(_conditions(request)):
            return None
        partial = left_of(request.url, self._folder)
        if partial is None or not _goes_on(partial):
            return None
        self._asked = True
        asking = request.copy()
        asking.headers.update(conditions(partial, overlap_of(partial)))
        try:
            answer = send(asking)
        except HTTPError as error:
            if error.status != 416 and not worth_another_try(error):
                raise
            error.close()  # it has become shorter, or had a hiccup: what it is now, a plain request tells
            return None
        if answer.status == 200 or _tells_enough(answer, partial):
            return answer
        answer.close()
        return None


def _goes_on(partial: Partial) -> bool:
    """Without a length nobody knows whether there is a rest."""
    version = partial.version
    return (
        bool(partial.have)
        and version is not None
        and not version.encoded
        and partial.total is not None
        and not partial.complete
    )


def _tells_enough(answer: Response, partial: Partial) -> bool:
    """A server may leave out of a part what it has said of the whole, but the extractor looks at these two."""
    dated = partial.version is None or partial.version.last_modified is None or answer.headers.get("Last-Modified")
    return answer.status == 206 and _is_media(answer) and bool(dated)


def _is_simple(request: Request) -> bool:
    """In no way that would make a server answer differently, but for the part that it asks for."""
    return request.method == "GET" and not (request.data or request.extensions)


def _conditions(request: Request) -> tuple[str | None, ...]:
    return tuple(request.headers.get(name) for name in _CONDITIONS)


def _is_media(answer: Response) -> bool:
    return (answer.headers.get("Content-Type") or "").lower().startswith(_MEDIA)


def _is_untouched(answer: Response) -> bool:
    """Only urllib3 tells how much was read. A byte that is missing would be lost for ever: if in doubt, ask again."""
    return isinstance(answer.fp, HTTPResponse) and not answer.fp.closed and answer.fp.tell() == 0
