"""A `.part` file and the record that says which version of which file its bytes belong to."""

from __future__ import annotations

import os
from pathlib import Path

from reelin.engine.child.records import read_record, write_record
from reelin.engine.child.validator import Version


class Partial:
    """`have` is how many bytes are on disk. `version` is None until a server has answered.

    The part is emptied before its record is replaced: bytes never stand beside another version's record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.have = 0
        self.version: Version | None = None
        self._record = path.with_name(f"{path.name}.json")

    def recall(self) -> None:
        """What an earlier process left. Bytes without a record could be anything's."""
        record = read_record(self._record)
        version = None if record is None else Version.from_record(record)
        have = self.path.stat().st_size if self.path.is_file() else 0
        if version is None or version.encoded or (version.total is not None and have > version.total):
            self.start_afresh()
        else:
            self.version, self.have = version, have

    def start_afresh(self) -> None:
        self.path.write_bytes(b"")
        self.have = 0
        self.version = None

    def adopt(self, version: Version) -> None:
        self.version = version
        write_record(self._record, version.as_record())

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

    def become(self, target: Path) -> None:
        self.path.replace(target)
        self._record.unlink(missing_ok=True)
