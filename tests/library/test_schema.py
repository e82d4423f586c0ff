"""Databases of other versions, of other programs, and damaged ones: each is one clear line, or works."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, inspect

from reelin import __version__
from reelin.errors import StartupError
from reelin.library import Library, schema
from tests.library.samples import new_job
from tests.library.test_migrations import _use, revisions
from tests.postgres import PostgresServer

HEAD = revisions()[-1]
_FUTURE = '''"""What a later Reelin will do."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
additive = {additive}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("mood", sa.String(16), nullable=False, server_default="calm"))
    op.create_index("jobs_by_mood", "jobs", ["mood"])
'''


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that does not exist, or has no tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'reelin.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await server.new()


@contextmanager
def newer(folder: Path, *, additive: bool) -> Iterator[None]:
    """Within the block this is a Reelin that knows one revision more."""
    with pytest.MonkeyPatch.context() as patch:
        migrations = shutil.copytree(schema.MIGRATIONS, folder / "migrations")
        (migrations / "versions" / "9999_later.py").write_text(_FUTURE.format(head=HEAD, additive=additive))
        patch.setattr(schema, "MIGRATIONS", migrations)
        patch.setattr(schema, "__version__", "9.0.0")
        yield


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Library]:
    library = Library(url)
    try:
        await library.open()
        yield library
    finally:
        await library.close()


async def refused(url: str) -> str:
    """The one line in which the database is refused."""
    with pytest.raises(StartupError) as raised:
        async with opened(url):
            pass
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 500
    return said


async def test_a_database_of_a_newer_version_is_one_line_with_both_versions(empty: str, tmp_path: Path) -> None:
    with newer(tmp_path, additive=False):
        async with opened(empty):
            pass
    said = await refused(empty)
    for word in ("9999", "9.0.0", HEAD, __version__, "backup"):
        assert word in said


async def test_an_older_process_runs_and_starts_again_on_a_revision_that_only_adds(empty: str, tmp_path: Path) -> None:
    async with opened(empty) as older:
        await older.jobs.submit(new_job("before"))
        with newer(tmp_path, additive=True):
            async with opened(empty) as later:
                assert (await later.jobs.submit(new_job("later"))).fresh
        assert (await older.jobs.submit(new_job("after"))).fresh
        assert not (await older.jobs.submit(new_job("later"))).fresh
    async with opened(empty) as restarted:
        await _use(restarted)
        assert (await restarted.jobs.get("video-after")).id == "video-after"


async def test_what_an_older_process_may_run_on_is_the_newest_revision_that_does_more_than_add(
    empty: str, tmp_path: Path
) -> None:
    with newer(tmp_path, additive=True):
        async with opened(empty) as library:
            assert await _compatibility(library) == [(schema.readable_from(), "9.0.0")]
        assert schema.readable_from() <= HEAD


async def _compatibility(library: Library) -> list[tuple[str, ...]]:
    async with library._database.reading() as connection:
        found = await connection.exec_driver_sql("SELECT readable_from, reelin_version FROM schema_compatibility")
        return [tuple(row) for row in found]


async def test_a_migration_that_says_it_only_adds_does(tmp_path: Path) -> None:
    """An older process reads every table and column that it knows, and what it does not fill has a default."""
    with newer(tmp_path, additive=True):
        judged = [revision for revision in schema.revisions() if schema.additive(revision)]
        for revision in judged:
            url = f"sqlite:///{tmp_path / revision}"
            await _upgrade(url, schema.revisions()[schema.revisions().index(revision) - 1])
            before = await _columns(url)
            await _upgrade(url, revision)
            after = await _columns(url)
            for table, columns in before.items():
                assert columns.keys() <= after[table].keys()
                for name in after[table].keys() - columns.keys():
                    assert after[table][name], f"{revision}: {table}.{name} is neither nullable nor has a default"
    assert "9999" in judged


async def _upgrade(url: str, revision: str) -> None:
    library = Library(url)
    async with library._database.writing() as connection:
        await connection.run_sync(lambda each: command.upgrade(schema._config(each), revision))
    await library.close()


async def _columns(url: str) -> dict[str, dict[str, bool]]:
    """Of each table each column, and whether it may be left out."""
    library = Library(url)

    def look(connection: Connection) -> dict[str, dict[str, bool]]:
        found = inspect(connection)
        return {
            table: {each["name"]: each["nullable"] or each["default"] is not None for each in found.get_columns(table)}
            for table in found.get_table_names()
        }

    try:
        async with library._database.reading() as connection:
            return await connection.run_sync(look)
    finally:
        await library.close()


async def test_an_installation_keeps_its_id_and_no_two_have_the_same(empty: str, tmp_path: Path) -> None:
    async with opened(empty) as library, opened(empty) as beside:
        first = library.installation
        assert beside.installation == first
    async with opened(empty) as again:
        assert again.installation == first
    async with opened(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert other.installation != first


async def test_a_database_of_another_program_is_left_alone(empty: str) -> None:
    await _execute(empty, "CREATE TABLE recipes (id INTEGER)")
    said = await refused(empty)
    assert "another program" in said and "REELIN_DATABASE_URL" in said
    assert await _tables(empty) == ["recipes"]


async def test_what_belongs_to_the_database_itself_is_no_other_program(empty: str) -> None:
    """A view of an administrator's; statistics of SQLite's."""
    if empty.startswith("sqlite"):
        await _execute(empty, "CREATE TABLE made (id INTEGER PRIMARY KEY AUTOINCREMENT)")
        await _execute(empty, "DROP TABLE made")  # sqlite_sequence stays
    else:
        await _execute(empty, "CREATE VIEW activity AS SELECT pid FROM pg_stat_activity")
    async with opened(empty) as library:
        assert (await library.jobs.submit(new_job())).fresh


async def test_tables_that_may_not_be_read_are_one_clear_line(postgres: PostgresServer) -> None:
    url = await postgres.new()
    async with opened(url):
        pass
    await postgres.execute("postgres", "CREATE ROLE stranger LOGIN")
    assert "permission denied" in await refused(url.replace("reelin@", "stranger@"))


async def test_a_database_of_another_program_with_revisions_of_its_own_is_left_alone(empty: str) -> None:
    await _execute(empty, "CREATE TABLE alembic_version (version_num VARCHAR(32))")
    await _execute(empty, "INSERT INTO alembic_version VALUES ('ab12cd34')")
    assert "another program" in await refused(empty)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
        "UPDATE alembic_version SET version_num = '0006'",  # but the columns of 0007 are there
        "INSERT INTO alembic_version VALUES ('0003')",
        "DROP TABLE items",
    ],
)
async def test_half_a_database_is_one_clear_line(empty: str, damage: str) -> None:
    async with opened(empty):
        pass
    await _execute(empty, damage)
    assert "backup" in await refused(empty)


async def _execute(url: str, statement: str) -> None:
    library = Library(url)
    async with library._database.writing() as connection:
        await connection.exec_driver_sql(statement)
    await library.close()


async def _tables(url: str) -> list[str]:
    return list(await _columns(url))


@pytest.mark.parametrize("damage", ["garbage", "cut", "header", "folder"])
async def test_a_damaged_file_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "reelin.db"
    async with opened(f"sqlite:///{path}") as library:
        await library.jobs.submit(new_job())
    whole = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {"garbage": b"no database " * 999, "cut": whole[:5000], "header": b"x" * 200 + whole[200:]}[damage]
        )
    said = await refused(f"sqlite:///{path}")
    assert str(path) in said
    assert ("permissions" if damage == "folder" else "backup") in said


async def test_a_locked_file_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reelin.db"
    monkeypatch.setattr("reelin.library.sqlite._PRAGMAS", ("PRAGMA journal_mode=WAL", "PRAGMA busy_timeout=50"))
    async with opened(f"sqlite:///{path}"):
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert "Another program" in await refused(f"sqlite:///{path}")
    finally:
        other.close()


async def test_a_postgresql_that_refuses_is_one_clear_line(postgres: PostgresServer) -> None:
    url = await postgres.new()
    name = url.partition("?")[0].rpartition("/")[2]
    assert "does not exist" in await refused(url.replace(name, "nowhere"))
    assert "does not exist" in await refused(url.replace("reelin@", "nobody@"))
    await postgres.execute("postgres", "CREATE ROLE guest LOGIN")
    assert "permission denied" in await refused(url.replace("reelin@", "guest@"))
    await postgres.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "read-only" in await refused(url)
    await postgres.execute("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    assert "not currently accepting connections" in await refused(url)
