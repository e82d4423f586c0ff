"""The bytes of a direct file: stored, or of any size and made on the way."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from collections.abc import Iterator
from typing import Protocol

CHUNK_BYTES = 512 * 1024
_MEDIA_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".m4s": "video/iso.segment",
    ".ts": "video/mp2t",
    ".vtt": "text/vtt",
    ".key": "application/octet-stream",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
}
_INVERTED = bytes(255 - value for value in range(256))
#: The pattern repeats after this many bytes. A prime, so that a block that is doubled, lost or misplaced shows.
_PERIOD_BYTES = 65521


class Content(Protocol):
    """`generation` 0 is the content that everyone knows; another one is what an upstream change makes of it."""

    @property
    def n_bytes(self) -> int: ...

    @property
    def etag(self) -> str: ...

    @property
    def media_type(self) -> str: ...

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`, in chunks of at most CHUNK_BYTES."""


def media_type_of(name: str) -> str:
    suffix = "." + name.rpartition(".")[2].lower()
    return _MEDIA_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "video/mp4"


class Stored:
    """A file that is held in memory. Another generation has the bits of its second half inverted: it does not play."""

    def __init__(self, data: bytes, name: str, generation: int = 0) -> None:
        half = len(data) // 2
        self._data = data[:half] + data[half:].translate(_INVERTED) if generation % 2 else data
        self.n_bytes = len(data)
        self.media_type = media_type_of(name)
        self._identity = f"{name} {generation}"

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self._identity.encode()).hexdigest()[:16]}-{self.n_bytes}"'

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        view = memoryview(self._data)
        for position in range(start, stop, CHUNK_BYTES):
            yield view[position : min(position + CHUNK_BYTES, stop)]


class Padded:
    """`base`, an mp4, and behind it a `free` box that fills it up: it plays, and has any size.

    The filling depends on name and generation, so files of one size differ. Nothing of it is kept.
    """

    def __init__(self, base: bytes, n_bytes: int, name: str, generation: int = 0) -> None:
        filling = n_bytes - len(base)
        if filling < 16:
            raise ValueError(f"a file has at least {len(base) + 16} bytes")
        wide = filling >= 2**32
        size = (1).to_bytes(4, "big") + b"free" + filling.to_bytes(8, "big")
        self._head = base + (size if wide else filling.to_bytes(4, "big") + b"free")
        self._seed = f"{name} {generation}".encode()
        self.n_bytes = n_bytes
        self.media_type = media_type_of(name)

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self._seed).hexdigest()[:16]}-{self.n_bytes}"'

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        head = memoryview(self._head)[start:stop]
        if head:
            yield head
        position = max(start, len(self._head))
        if position >= stop:
            return
        tile = memoryview(self._tile(stop - len(self._head)))
        while position < stop:
            offset = (position - len(self._head)) % _PERIOD_BYTES
            chunk = tile[offset : offset + min(CHUNK_BYTES, stop - position)]
            yield chunk
            position += len(chunk)

    def _tile(self, needed: int) -> bytes:
        """The pattern, as often as makes every chunk a slice of it; no more than `needed` bytes for a small file."""
        period = _pattern(self._seed, min(needed, _PERIOD_BYTES))
        return period if needed <= _PERIOD_BYTES else period * (CHUNK_BYTES // _PERIOD_BYTES + 2)


@functools.lru_cache(maxsize=64)
def _pattern(seed: bytes, n_bytes: int) -> bytes:
    return hashlib.shake_128(seed).digest(n_bytes)
