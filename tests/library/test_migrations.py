"""A database of any earlier version is brought to the newest one with what it holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

import reelin.library
from reelin.contracts.jobs import State
from reelin.library import JobFilter, Library, NewJob, Wish
from reelin.library.tables import metadata
from tests.library.samples import MEDIA_ID, expanded, new_job, publish, states
from tests.postgres import PostgresServer

_MIGRATIONS = Path(reelin.library.__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def revisions() -> list[str]:
    """From the first to the newest."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that does not exist, or has no tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'reelin.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await server.new()


async def _at(url: str, revision: str, *, filled: bool) -> None:
    """Leaves a database of that version behind, with a job, a video and a file in it."""
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+asyncpg"
    engine = create_async_engine(url.replace(url.partition(":")[0], driver, 1))

    def upgrade(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if filled:
            _fill(connection)

    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


_ROWS = {
    "jobs": {
        "id": "video-old",
        "kind": "video",
        "state": "completed",
        "url": "https://example.org/old",
        "title": "An old film",
        "owner": "local",
        "preset": "best",
        "options": "{}",
        "priority": 3,
        "force": False,
        "run": 1,
        "attempt": 1,
        "cancel_requested": False,
        "keep_partial": False,
        "pause_requested": False,
        "resumed": False,
        "held": False,
        "standalone": True,
        "depth": 0,
        "version": 1,
        "site": "example.org",
    },
    "videos": {
        "id": "v-old",
        "owner": "local",
        "url": "https://example.org/old",
        "site": "example.org",
        "state": "downloaded",
    },
    "files": {
        "id": "f-old",
        "video_id": "v-old",
        "job_id": "video-old",
        "role": "media",
        "path": "old.mp4",
        "size_bytes": 10,
        "sha256": "0" * 64,
    },
}
_MOMENTS = {"jobs": "submitted_at", "videos": "added_at", "files": "published_at"}


def _fill(connection: Connection) -> None:
    for table, row in _ROWS.items():
        known = {column["name"] for column in inspect(connection).get_columns(table)}
        values = {name: value for name, value in row.items() if name in known}
        names = ", ".join([*values, _MOMENTS[table]])
        marks = ", ".join([*(f":{name}" for name in values), "'2026-01-02 03:04:05'"])
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


async def test_every_earlier_version_is_upgraded_with_what_it_holds(url: str) -> None:
    for revision in revisions():
        await _at(url, revision, filled=revision == revisions()[0])
    library = Library(url)
    await library.open()
    try:
        job = await library.jobs.get("video-old")
        assert (job.state, job.standalone, job.held, job.resumed) == (State.COMPLETED, True, False, False)
        video = await library.videos.get("v-old")
        assert (video.state, [file.path for file in video.files]) == ("downloaded", ["old.mp4"])
    finally:
        await library.close()


@pytest.mark.parametrize("revision", revisions())
async def test_an_upgraded_database_works_like_a_new_one(url: str, revision: str) -> None:
    await _at(url, revision, filled=True)
    library = Library(url)
    await library.open()
    try:
        assert not (await library.jobs.submit(_old())).fresh
        await _use(library)
    finally:
        await library.close()


async def test_what_the_library_does_works_on_this_database(url: str) -> None:
    library = Library(url)
    await library.open()
    try:
        await _use(library)
    finally:
        await library.close()


async def test_the_migrations_make_the_tables_that_the_code_believes_in(url: str) -> None:
    await _at(url, "head", filled=False)
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+asyncpg"
    engine = create_async_engine(url.replace(url.partition(":")[0], driver, 1))
    async with engine.connect() as connection:
        found = await connection.run_sync(_tables)
    await engine.dispose()
    for table in metadata.sorted_tables:
        columns, indexes = found[table.name]
        assert columns == {column.name for column in table.columns}
        assert indexes >= {str(index.name) for index in table.indexes}


def _tables(connection: Connection) -> dict[str, tuple[set[str], set[str]]]:
    inspector = inspect(connection)
    return {
        name: (
            {column["name"] for column in inspector.get_columns(name)},
            {str(index["name"]) for index in inspector.get_indexes(name)},
        )
        for name in inspector.get_table_names()
    }


def _old() -> NewJob:
    return replace(new_job("old"), id="video-old")


async def _use(library: Library) -> None:
    """One of each kind of statement that differs between databases."""
    await expanded(library, "a", "b", "a")
    released = await library.window.release("bulk-one", at_once=1, limit_of=lambda site: None)
    await publish(library, released.jobs[0].id)
    assert await states(library) == ["completed", "queued", "completed"]
    page = await library.jobs.page(JobFilter(parent="bulk-one"), sort="-size", limit=2, cursor=None)
    await library.jobs.page(JobFilter(parent="bulk-one"), sort="-size", limit=2, cursor=page.next_cursor)
    assert [granted.matched async for granted in library.wishes.all(Wish.CANCEL, JobFilter(with_items=True))]
    assert [granted.matched async for granted in library.wishes.all(Wish.RETRY, JobFilter(parent="bulk-one"))]
    await library.wishes.prioritise("bulk-one", 1)
    assert (await library.jobs.throughput(60)).completed == 1
    moment = datetime.now(UTC) + timedelta(days=1)
    await library.media_folders.make_known(MEDIA_ID, "here")
    await library.media_folders.note_marked(MEDIA_ID)
    await library.shelf.note_looked_for(gone=await library.shelf.files_after(MEDIA_ID, ""), back=[], looked_at=moment)
    await library.shelf.note_looked_for(gone=[], back=await library.shelf.missing_after(MEDIA_ID, ""), looked_at=moment)
    unverified = await library.shelf.unverified_after(MEDIA_ID, "")
    assert unverified is not None
    await library.shelf.note_compared(unverified, equal=False)
    await library.shelf.settle()
    await library.jobs.forget("bulk-one")
    assert await library.jobs.find("bulk-one") is None
