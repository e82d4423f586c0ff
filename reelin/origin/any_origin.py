"""What every origin, in a thread or in a process of its own, offers to whoever started it."""

from __future__ import annotations

import hashlib
import secrets
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlencode, urlsplit

from reelin.origin.app import FEED_PARAMETERS, PAGE_PARAMETERS
from reelin.origin.content import Content
from reelin.origin.faults import COUNTED_FAULTS, FAULT_NAMES
from reelin.origin.log import RequestRecord
from reelin.origin.manifests import PREFIX
from reelin.origin.media import Media, make_media

_KNOWN_PARAMETERS = (
    PAGE_PARAMETERS | FEED_PARAMETERS | FAULT_NAMES | {f"{PREFIX}{name}" for name in FAULT_NAMES | {"key"}}
)


class AnyOrigin(ABC):
    """A media server on the loopback interface, with the media in `folder` (made there if need be).

    `with` starts and stops it.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self._folder = folder
        self._asked_port = port
        self._media: Media | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at the end."""

    @property
    @abstractmethod
    def log(self) -> list[RequestRecord]:
        """All requests since the start or the last `clear_log`, in order of arrival."""

    @abstractmethod
    def clear_log(self) -> None: ...

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """Hang up on everyone and end, within half a second."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def media(self) -> Media:
        if self._media is None:
            self._media = make_media(self._folder)
        return self._media

    def url_for(self, path: str, **parameters: str | int | bool) -> str:
        """The URL of `path` with these faults and page parameters. A misspelt one raises ValueError.

        Faults that count requests get a key of their own where none is given: no two tests share a count.
        """
        unknown = parameters.keys() - _KNOWN_PARAMETERS
        if unknown:
            raise ValueError(f"unknown parameters {sorted(unknown)}; known: {sorted(_KNOWN_PARAMETERS)}")
        counted = {name.removeprefix(PREFIX) for name in parameters} & COUNTED_FAULTS
        if counted and not {"key", f"{PREFIX}key"} & parameters.keys():
            parameters["key"] = secrets.token_hex(4)
        query = urlencode({name: int(value) if value is True else value for name, value in parameters.items()})
        return f"{self.url}{quote(path)}" + (f"?{query}" if query else "")

    def reference(self, path: str, *, generation: int = 0) -> bytes:
        """The exact bytes of the direct file at `path` (or URL); `generation=1`: after it has changed."""
        content = self._content(path, generation)
        return b"".join(content.chunks(0, content.n_bytes))

    def sha256(self, path: str, *, generation: int = 0) -> str:
        """The hash of `reference`, without holding a large file in memory."""
        content = self._content(path, generation)
        digest = hashlib.sha256()
        for chunk in content.chunks(0, content.n_bytes):
            digest.update(chunk)
        return digest.hexdigest()

    def bytes_sent(self, path_prefix: str = "") -> int:
        """How many bytes of body went out for paths that begin so."""
        return sum(record.bytes_sent for record in self.log if record.path.startswith(path_prefix))

    def requests(self, path: str) -> list[RequestRecord]:
        """The requests for this path (or URL), whatever their query."""
        wanted = _path_of(path)
        return [record for record in self.log if record.path == wanted]

    def _content(self, path: str, generation: int) -> Content:
        return self.media.content(_path_of(path), generation)


def _path_of(path_or_url: str) -> str:
    return unquote(urlsplit(path_or_url).path)
