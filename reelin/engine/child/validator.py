"""What a server says of a file's version, and whether two answers speak of the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reelin.engine.child.records import is_count


@dataclass(frozen=True)
class Version:
    """`total` is the length of what is wanted of it. None means that the server did not say.

    `encoded`: it came compressed although it was asked not to, so byte positions mean nothing.
    """

    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None
    encoded: bool = False

    @classmethod
    def of(cls, headers: Mapping[str, str], total: int | None) -> Version:
        encoded = bool(headers.get("Content-Encoding"))
        return cls(headers.get("ETag"), headers.get("Last-Modified"), None if encoded else total, encoded)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Version | None:
        """None if it is no version: it is sent back to the server, so nothing odd may pass."""
        try:
            version = cls(**record)
        except TypeError:
            return None
        sound = _is_header(version.etag) and _is_header(version.last_modified) and isinstance(version.encoded, bool)
        return version if sound and (version.total is None or is_count(version.total)) else None

    def as_record(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def if_range(self) -> str | None:
        """For the header If-Range, which a weak ETag is not allowed in."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def agrees_with(self, other: Version) -> bool:
        """Behind a load balancer one file may bear several dates, so an ETag that both name decides alone."""
        if _differ(self.total, other.total):
            return False
        if self.etag and other.etag:
            return self.etag == other.etag
        return not _differ(self.last_modified, other.last_modified)


def _is_header(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.isprintable())


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other
