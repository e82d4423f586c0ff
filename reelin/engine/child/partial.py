"""A `.part` file and the record that says which version of which file its bytes belong to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from reelin.engine.child.records import is_count, read_record, this_boot, write_record
from reelin.engine.child.syncing import Syncing
from reelin.engine.child.validator import Version

_RECORD = ".part.json"


class Partial:
    """`have` is how many bytes are on disk. `version` is None until a server has answered.

    `identity` says which stream it is: another one's bytes under the same name are not its own. `address` is where all
    of it is served under one address that does not change, None elsewhere.

    The part is emptied before its record goes: bytes never stand beside another version's record.
    """

    def __init__(self, path: Path, identity: str = "", address: str | None = None) -> None:
        self.path = path
        self._identity = identity
        self._address = None if address is None else digest(address)
        self.have = 0
        self.version: Version | None = None
        self._record = path.with_name(f"{path.name}.json")
        self._syncing = Syncing(0)
        self._synced = 0

    def recall(self) -> None:
        """What an earlier process left. Bytes without a record could be anything's."""
        record = read_record(self._record) or {}
        version = _version(record) if record.get("identity") == self._identity else None
        have = self._trusted(record)
        if version is None or version.encoded or (version.total is not None and have > version.total):
            self.start_afresh()
        elif self.path.is_file():
            os.truncate(self.path, have)
            self.version, self.have = version, have
            self._synced = min(have, _synced(record))
            self._syncing = Syncing(self._synced)
            self._write_record()

    def _trusted(self, record: dict[str, Any]) -> int:
        size = self.path.stat().st_size if self.path.is_file() else 0
        if record.get("boot") == this_boot() and not _has_hole(self.path, size):
            return size
        return min(size, _synced(record))

    def start_afresh(self) -> None:
        self.path.write_bytes(b"")
        self._record.unlink(missing_ok=True)
        self.have = self._synced = 0
        self._syncing = Syncing(0)
        self.version = None

    def adopt(self, version: Version) -> None:
        self.version = version
        self._write_record()

    def _write_record(self) -> None:
        version = self.version.as_record() if self.version else None
        vouched = {"identity": self._identity, "synced": self._synced, "boot": this_boot()}
        vouched |= {} if self._address is None else {"url_sha256": self._address}
        write_record(self._record, {"version": version, **vouched})

    @property
    def total(self) -> int | None:
        return self.version.total if self.version else None

    @property
    def complete(self) -> bool:
        return self.total is not None and self.have == self.total

    def tail(self, length: int) -> bytes:
        with self.path.open("rb") as part:
            part.seek(self.have - length)
            return part.read(length)

    def append(self, descriptor: int, data: bytes) -> None:
        """To the operating system at once: what stays in a buffer of ours dies with us."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        self.have += len(data)
        self._syncing.offer(descriptor, self.have)
        if self._syncing.reached > self._synced:
            self._synced = self._syncing.reached
            self._write_record()

    def become(self, target: Path) -> None:
        self._syncing.settle()
        self.path.replace(target)
        self._record.unlink(missing_ok=True)


def left_of(address: str, folder: Path) -> Partial | None:
    """What an earlier attempt has left there of the file at this address, as far as it can be trusted."""
    for path in folder.glob(f"*{_RECORD}"):
        record = read_record(path) or {}
        identity = record.get("identity")
        if isinstance(identity, str) and record.get("url_sha256") == digest(address):
            partial = Partial(path.with_name(path.name.removesuffix(".json")), identity, address)
            partial.recall()
            return partial
    return None


def digest(address: str) -> str:
    """Addresses may hold a secret, and a record is read by whoever looks into the folder."""
    return hashlib.sha256(address.encode()).hexdigest()


def _version(record: dict[str, Any]) -> Version | None:
    version = record.get("version")
    return Version.from_record(version) if isinstance(version, dict) else None


def _synced(record: dict[str, Any]) -> int:
    synced = record.get("synced")
    return synced if is_count(synced) else 0


def _has_hole(path: Path, size: int) -> bool:
    """Whoever fills a file from several ends leaves one; its length then says nothing."""
    if not size:
        return False
    with path.open("rb") as part:
        return os.lseek(part.fileno(), 0, os.SEEK_HOLE) < size
