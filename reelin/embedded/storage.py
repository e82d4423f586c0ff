"""Temporal's database: expendable, since the jobs table knows what is to be done. One that is broken is set aside, and
the server begins a new one; the reconciler starts there what is not finished."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from reelin.errors import StartupError

log = structlog.get_logger(__name__)

#: Checking a large database takes long; what was looked at until then has to do.
CHECK_SECONDS = 5.0
#: A server whose starter was killed is ending.
UNLOCKED_WITHIN_SECONDS = 30.0
_PARTS = ("", "-wal", "-shm")
_BROKEN = ("not a database", "malformed", "no such table", "unsupported file format")


@dataclass(frozen=True, slots=True)
class TemporalStorage:
    """The folder of Temporal's server. `installation` is whose jobs its database runs; None: that is not looked at."""

    folder: Path
    installation: str | None = None

    @property
    def database(self) -> Path:
        return self.folder / "temporal.db"

    @property
    def lock(self) -> Path:
        """The server's process holds it while it lives."""
        return self.folder / "lock"

    def repair(self) -> str | None:
        """Sets a database aside that no server can use, and says so in one line. Raises StartupError.

        Blocks for as long as another server is ending. A database that is merely in use is left alone.
        """
        with self._locked():
            if not os.path.lexists(self.database):
                return self._set_aside("it is gone") if self._owner.exists() else None
            reason = self._why_useless()
            return None if reason is None else self._set_aside(reason)

    def set_aside(self, reason: str) -> str:
        """What the server itself has found to be broken. Raises StartupError where a server still has it open."""
        with self._locked():
            return self._set_aside(reason)

    def note_complete(self) -> None:
        """A server came up with it: it is not one whose making was broken off."""
        if self.installation is not None:
            self._owner.write_text(self.installation, encoding="ascii")

    @property
    def _owner(self) -> Path:
        return self.folder / "installation"

    def _why_useless(self) -> str | None:
        if self.installation is not None:
            owner = _read(self._owner)
            if owner != self.installation:
                return "it is another installation's" if owner else "it was never completed"
        return _why_broken(self.database)

    def _set_aside(self, reason: str) -> str:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.folder / f"temporal-set-aside-{stamp}.db"
        for part in reversed(_PARTS):  # the database last: until then it is found, and tried again
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.database}{part}").rename(f"{aside}{part}")
        self._owner.unlink(missing_ok=True)
        kept = f" What is left of it: {aside}" if aside.exists() else ""
        line = f"Temporal's database cannot be used ({reason}); jobs go on from the jobs table, with a new one.{kept}"
        log.warning(line)
        return line

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + UNLOCKED_WITHIN_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StartupError(
                            f"Another Temporal server has {self.database} open. End it; `fuser {self.lock}` names it."
                        ) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)


def blames_database(said: str) -> bool:
    """Whether a server says that its database is broken, and not merely in use."""
    return any(words in said for words in _BROKEN)


def _why_broken(database: Path) -> str | None:
    """None where it is fine, in use, or too large to be looked at as a whole."""
    try:
        with database.open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    deadline = time.monotonic() + CHECK_SECONDS
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
        try:
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.DatabaseError as error:
            return str(error) if blames_database(str(error)) else None
    return None if verdict == "ok" else verdict.splitlines()[-1][:200]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
