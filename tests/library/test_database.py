"""Opening, migrating, and one writer at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from reelin.errors import StartupError
from reelin.library import Library
from reelin.library.tables import metadata
from tests.library.samples import new_job


async def test_the_migrations_make_the_tables_that_the_code_expects(library: Library) -> None:
    def compare(connection: Connection) -> None:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert inspect(connection).has_table("alembic_version")

    async with library._database.reading() as connection:
        await connection.run_sync(compare)


async def test_two_processes_worth_of_writers_do_not_lock_each_other_out(library: Library, url: str) -> None:
    other = Library(url)
    await other.open()
    submissions = [
        store.jobs.submit(new_job(f"{name}{number}"))
        for number in range(50)
        for name, store in (("a", library), ("b", other))
    ]
    await asyncio.gather(*submissions)
    assert len(await library.jobs.undispatched(limit=200)) == 100
    await other.close()


@pytest.mark.parametrize("content", [b"this is not a database, not at all", None])
async def test_a_database_that_cannot_be_opened_is_one_clear_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "reelin.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content * 100)
    library = Library(f"sqlite:///{path}")
    with pytest.raises(StartupError, match="REELIN_DATABASE_URL") as raised:
        await library.open()
    assert "\n" not in str(raised.value)
    await library.close()
