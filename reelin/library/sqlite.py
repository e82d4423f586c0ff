"""SQLite for SQLAlchemy's asyncio, with one trip to the connection's thread for each statement.

SQLAlchemy's own adapter takes four (a cursor, the statement, its rows, the end), also for BEGIN, and one for a rollback
after each commit: a trip costs more than most statements here. A transaction that writes takes n + 2 for n statements,
one that reads n + 1.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import Any

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_connection
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import EMPTY_DICT, await_only

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a job that was accepted survives a power cut; a commit costs 0.1 ms more
    "PRAGMA busy_timeout=30000",  # another process may be writing
    "PRAGMA foreign_keys=ON",
)


#: Words of SQLite's, and what to do about them.
_REMEDIES = (
    (("locked",), "Another program has it open and does not let go: end that one."),
    (
        ("not a database", "malformed", "unsupported file format"),
        "It is damaged, or no database: restore a backup of it (docs/operating.md), or choose another file with "
        "REELIN_DATABASE_URL.",
    ),
)
_REMEDY = "Check REELIN_DATABASE_URL, the folder's permissions and the free space on its disk."


def remedy_for(reason: str) -> str:
    """What to do where a database cannot be opened for this reason, in SQLite's words."""
    return next((remedy for words, remedy in _REMEDIES if any(word in reason for word in words)), _REMEDY)


def driver() -> AsyncAdapt_aiosqlite_dbapi:
    """For `create_async_engine(…, module=driver())`."""
    return _Driver(aiosqlite, sqlite3)


def prepare(engine: AsyncEngine, *, write: bool) -> None:
    """The driver's own transactions begin at the first write, too late to wait for a lock politely: begin ourselves."""

    def connected(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    def wait_for_turn(connection: Connection) -> None:
        # At once: versions are told by the clock of whoever has the lock, so that they are committed in their order.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def begin_with_first(connection: Connection) -> None:
        adapted = connection.connection.dbapi_connection
        assert isinstance(adapted, QuickConnection)
        adapted.begin_with("BEGIN")

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", wait_for_turn if write else begin_with_first)


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """Exists only once it has executed something; has fetched all its rows by then."""

    __slots__ = ()
    _awaitable_cursor_close = False
    _cursor: Any

    def __init__(self, adapted: AsyncAdapt_dbapi_connection) -> None:
        self._adapt_connection = adapted
        self._connection = adapted._connection
        self._soft_closed_memoized = EMPTY_DICT
        self._rows = deque()

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._send(sqlite3.Cursor.execute, operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._send(sqlite3.Cursor.executemany, operation, seq_of_parameters)

    async def _send(self, call: Any, *arguments: Any) -> None:
        adapted: Any = self._adapt_connection
        async with adapted._execute_mutex:
            begin = adapted.statement_sent()
            self._cursor, rows = await adapted._connection._execute(
                _executed, adapted._connection._conn, begin, call, arguments
            )
        self._rows = deque(rows)

    def close(self) -> None:
        self._rows.clear()


def _executed(
    raw: sqlite3.Connection, begin: str | None, call: Any, arguments: Sequence[Any]
) -> tuple[sqlite3.Cursor, Sequence[Any]]:
    """In the connection's thread."""
    cursor = raw.cursor()
    if begin is not None:
        cursor.execute(begin)
    call(cursor, *arguments)
    return cursor, cursor.fetchall() if cursor.description else ()


class QuickConnection(AsyncAdapt_aiosqlite_connection):
    """Ends no transaction in which nothing was asked."""

    __slots__ = ("_begin", "_used")
    _cursor_cls: Any = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self._begin: str | None = None
        self._used = False

    def begin_with(self, statement: str) -> None:
        """`statement` goes along with the next one, before it."""
        self._begin = statement

    def statement_sent(self) -> str | None:
        """How to begin, if this is the first one."""
        begin, self._begin, self._used = self._begin, None, True
        return begin

    def commit(self) -> None:
        if self._ends_something():
            super().commit()
            self._used = False

    def rollback(self) -> None:
        if self._ends_something():
            super().rollback()
            self._used = False

    def _ends_something(self) -> bool:
        """By what was sent, not by what SQLite says: a statement that was given up may not have arrived yet."""
        self._begin = None
        return self._used


class _Driver(AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *arg: Any, **kw: Any) -> QuickConnection:
        connection = aiosqlite.connect(*arg, **kw)
        connection._thread.daemon = True
        return QuickConnection(self, await_only(connection))
