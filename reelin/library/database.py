"""Connections and transactions. There is one writer at a time, by construction and not by luck."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from reelin.errors import StartupError, Unavailable
from reelin.library import postgres, sqlite
from reelin.library.schema import bring_up_to_date, reason_of
from reelin.library.tables import installation


class Database:
    """`reading()` and `writing()` give a connection in a transaction; an exception rolls it back.

    Both raise Unavailable where the database does not answer or stays locked.
    """

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._shown = self._url.render_as_string(hide_password=True)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._installation: str | None = None
        self._writer = self._engine(size=1, write=True)
        self._reader = self._engine(size=4 if self._sqlite else 8, write=False)

    def _engine(self, *, size: int, write: bool, patient: bool = False) -> AsyncEngine:
        pool: dict[str, Any] = {"poolclass": AsyncAdaptedQueuePool, "pool_size": size, "max_overflow": 0}
        pool["pool_timeout"] = 60
        if self._sqlite:
            url = self._url.set(drivername="sqlite+aiosqlite")
            engine = create_async_engine(url, module=sqlite.driver(), **pool)
            sqlite.prepare(engine, write=write)
            return engine
        # A writer sees what was committed until it got its turn, a reader one moment in all that it reads.
        isolation = "READ COMMITTED" if write else "REPEATABLE READ"
        connect = postgres.connector(self._url.render_as_string(hide_password=False), patient=patient)
        engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, isolation_level=isolation, **pool)
        postgres.prepare(engine, write=write)
        return engine

    @property
    def installation(self) -> str:
        """The id that this database was given when it was first opened: 32 hexadecimal digits."""
        if self._installation is None:
            raise RuntimeError("the database is not open")
        return self._installation

    async def open(self) -> None:
        """Creates the database or brings it to the newest revision. Raises StartupError."""
        migrating = self._engine(size=1, write=True, patient=True)
        try:
            if self._sqlite:
                _make_parent(self._url)
            async with migrating.connect() as connection:
                await connection.run_sync(bring_up_to_date, self._shown)
                self._installation = await _find_or_make_installation(connection)
                await connection.commit()
        except (DBAPIError, OSError) as error:
            reason = reason_of(error)
            remedy = sqlite.remedy_for(reason) if self._sqlite else postgres.REMEDY
            raise StartupError(f"The database {self._shown} cannot be opened ({reason}). {remedy}") from error
        finally:
            await migrating.dispose()

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with _translated():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        with _translated():
            async with self._writer.begin() as connection:
                yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        if isinstance(error, DBAPIError) and not postgres.is_outage(error):
            raise
        raise Unavailable("The database", reason_of(error)) from error


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StartupError(
            "REELIN_DATABASE_URL cannot be read. It is sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME, "
            "with %-escapes for special characters in the password."
        ) from error


def _make_parent(url: URL) -> None:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


async def _find_or_make_installation(connection: AsyncConnection) -> str:
    found: str | None = await connection.scalar(select(installation.c.id))
    if found is None:
        found = uuid.uuid4().hex
        await connection.execute(insert(installation).values(id=found, made_at=datetime.now(UTC)))
    return found
