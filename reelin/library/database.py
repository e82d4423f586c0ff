"""Connections and transactions. There is one writer at a time, by construction and not by luck."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from reelin.errors import StartupError, Unavailable
from reelin.library import postgres, sqlite


class Database:
    """`reading()` and `writing()` give a connection in a transaction; an exception rolls it back.

    Both raise Unavailable where the database does not answer or stays locked.
    """

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._shown = self._url.render_as_string(hide_password=True)
        self._sqlite = self._url.get_backend_name() == "sqlite"
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
    def _else_to_check(self) -> str:
        if self._sqlite:
            return "the folder's permissions and the free space on its disk"
        return "whether the server runs and whether the user may create tables there"

    async def open(self) -> None:
        """Creates the database or brings it to the newest revision. Raises StartupError."""
        if self._sqlite:
            _make_parent(self._url)
        migrating = self._engine(size=1, write=True, patient=True)
        try:
            async with migrating.connect() as connection:
                await connection.run_sync(_upgrade)
                await connection.commit()
        except (DBAPIError, OSError) as error:
            raise StartupError(
                f"The database {self._shown} cannot be opened ({_reason(error)}). "
                f"Check REELIN_DATABASE_URL, {self._else_to_check}."
            ) from error
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
        raise Unavailable("The database", _reason(error)) from error


def _reason(error: Exception) -> str:
    said = str(getattr(error, "orig", error)) or type(error).__name__
    return said.splitlines()[0]


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


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
