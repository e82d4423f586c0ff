"""Temporal's database, damaged in every way that comes to mind: the server comes up, and nothing is thrown away."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import Client

from reelin.contracts.work import WORKFLOW_QUEUE
from reelin.embedded import storage
from reelin.embedded.server import TemporalServer
from reelin.embedded.storage import TemporalStorage
from reelin.errors import StartupError
from tests.embedded.test_server import plan_in

MINE, ANOTHERS = "a" * 32, "b" * 32


@asynccontextmanager
async def running(folder: Path, *, installation: str = MINE) -> AsyncIterator[tuple[TemporalServer, Client]]:
    server = TemporalServer(replace(plan_in(folder), installation=installation))
    try:
        yield server, await server.start()
    finally:
        await server.stop()


async def _start(client: Client, name: str) -> None:
    await client.start_workflow("Any", "y" * 1000, id=name, task_queue=WORKFLOW_QUEUE)


async def _found(client: Client) -> set[str]:
    return {each.id async for each in client.list_workflows()}


@pytest.fixture(scope="module")
async def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that was killed with work in it."""
    folder = tmp_path_factory.mktemp("killed")
    async with running(folder) as (server, client):
        await asyncio.gather(*(_start(client, f"old-{number}") for number in range(30)))
        assert server.pid is not None
        os.killpg(server.pid, signal.SIGKILL)
    return folder


@pytest.fixture
def folder(killed: Path, tmp_path: Path) -> Path:
    for path in killed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def _fill_with_garbage(database: Path) -> None:
    database.write_bytes(os.urandom(100_000))


def _cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 8192 * 4096)


def _empty(database: Path) -> None:
    database.write_bytes(b"")
    Path(f"{database}-wal").unlink()


def _overwrite_the_middle(database: Path) -> None:
    Path(f"{database}-wal").unlink()
    with database.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(database.stat().st_size - 6 * 4096))


def _drop_a_table(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE executions_visibility")


def _make_a_folder_of_it(database: Path) -> None:
    database.unlink()
    database.mkdir()


def _remove(database: Path) -> None:
    database.unlink()


def _break_off_its_making(database: Path) -> None:
    (database.parent / "installation").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _fill_with_garbage,
        _cut,
        _empty,
        _overwrite_the_middle,
        _drop_a_table,
        _make_a_folder_of_it,
        _remove,
        _break_off_its_making,
    ],
)
async def test_a_database_that_cannot_be_used_is_set_aside_and_said_in_one_line(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    database = folder / "temporal.db"
    damage(database)
    was_there = database.exists()
    async with running(folder) as (server, client):
        await _start(client, "new")
        [line] = server.notes
        assert "jobs go on" in line and "\n" not in line
        assert [path.name in line for path in folder.glob("temporal-set-aside-*.db")] == [True] * was_there
    async with running(folder) as (server, client):
        assert server.notes == []
        assert await _found(client) == {"new"}


@pytest.mark.parametrize("part", ["-wal", "-shm"])
async def test_garbage_in_a_file_beside_it_is_sqlites_business(folder: Path, part: str) -> None:
    (folder / f"temporal.db{part}").write_bytes(os.urandom(32_768))
    async with running(folder) as (server, client):
        assert server.notes == []
        await _start(client, "new")
        assert "old-1" in await _found(client)


async def test_a_database_of_another_installation_is_set_aside(folder: Path) -> None:
    async with running(folder, installation=ANOTHERS) as (server, client):
        assert "another installation" in server.notes[0]
        assert await _found(client) == set()


async def test_a_server_that_dies_and_finds_its_database_broken_begins_anew(folder: Path) -> None:
    async with running(folder) as (server, client):
        assert server.pid is not None
        os.killpg(server.pid, signal.SIGSTOP)
        _fill_with_garbage(folder / "temporal.db")
        os.killpg(server.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while not server.notes or not (folder / "installation").exists():
                await asyncio.sleep(0.05)
        assert await _found(client) == set()
        await _start(client, "new")


async def test_a_database_that_is_merely_in_use_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(folder / "temporal.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert TemporalStorage(folder, MINE).repair() is None
    monkeypatch.setattr(storage, "UNLOCKED_WITHIN_SECONDS", 0.2)
    async with running(folder) as (server, _):
        with pytest.raises(StartupError, match="Another Temporal server"):
            async with running(folder, installation=ANOTHERS):
                pass
        assert server.notes == []
    assert list(folder.glob("temporal-set-aside-*")) == []
