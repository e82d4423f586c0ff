"""The answer that the generic extractor asks for to see what a URL is, and leaves alone when it is the media itself.

Asking for the same file once more would cost a connection, and send a small file over the network twice.
"""

from __future__ import annotations

from urllib3 import HTTPResponse
from yt_dlp.networking import Request, Response

_MEDIA = ("video/", "audio/")
_CONDITIONS = ("Range", "If-Range")


class Unread:
    """The latest answer that may be the download itself: `note` them all, then `take` it, once."""

    def __init__(self) -> None:
        self._answer: Response | None = None

    def note(self, request: Request, answer: Response) -> None:
        """An older one is not closed here: the extractor that asked for it may be reading it."""
        if _plain(request) and answer.status == 200 and _is_media(answer):
            self._answer = answer

    def take(self, request: Request) -> Response | None:
        """The answer to `request`, if it is there; what it was kept for is over in any case."""
        answer, self._answer = self._answer, None
        if answer is None:
            return None
        if _plain(request) and answer.url == request.url and _is_untouched(answer):
            return answer
        answer.close()
        return None

    def drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None


def _plain(request: Request) -> bool:
    """Asks for all of it, and in no way that would make a server answer differently."""
    conditional = any(name in request.headers for name in _CONDITIONS)
    return request.method == "GET" and not (request.data or request.extensions or conditional)


def _is_media(answer: Response) -> bool:
    return (answer.headers.get("Content-Type") or "").lower().startswith(_MEDIA)


def _is_untouched(answer: Response) -> bool:
    """Only urllib3 tells how much was read. A byte that is missing would be lost for ever: if in doubt, ask again."""
    return isinstance(answer.fp, HTTPResponse) and not answer.fp.closed and answer.fp.tell() == 0
