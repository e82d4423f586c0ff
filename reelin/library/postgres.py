"""What PostgreSQL needs to serve the library as SQLite does: one writer at a time, texts that it can store, connections
that do not outlive the server."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

#: Any number will do, as long as all that write to the database have the same one.
_TURN = int.from_bytes(b"reelin", "big")
#: What was decided from a row must still hold when it is written. The lock goes with the transaction, and so do its
#: holder's rights to it: one that falls silent in the middle is thrown out.
_WAIT_FOR_TURN = f"SELECT pg_advisory_xact_lock({_TURN})"
_SESSION = {
    "application_name": "reelin",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    # Else it reads a whole table to find 250 jobs by their ids, for ever if it was small when that was asked first.
    "random_page_cost": "1.1",
    "plan_cache_mode": "force_custom_plan",
}
_SILENT_SECONDS = 60
_CONNECT_SECONDS = 10
#: Connection lost, rolled back for another's sake, out of resources, not now, cancelled or shut down, the disk; a
#: session that was thrown out; a server that only reads since another one took over; a statement that a migration has
#: made stale.
_PASSING = ("08", "40", "53", "55", "57", "58", "25P03", "25006", "0A000")

#: Where a database cannot be opened.
REMEDY = "Check REELIN_DATABASE_URL, whether the server runs and whether the user may create tables there."


def connector(url: str, *, patient: bool) -> Callable[..., Awaitable[Any]]:
    """Opens connections to a libpq URL (`sslmode` and all). Failures are OSErrors.

    Statements are given up after a minute without an answer, unless `patient`.
    """

    async def connect(*_arguments: object, **_named: object) -> Any:
        import asyncpg  # who uses SQLite should not wait for it

        try:
            return await asyncpg.connect(
                url,
                timeout=_CONNECT_SECONDS,
                command_timeout=None if patient else _SILENT_SECONDS,
                server_settings=_SESSION,
            )
        except TimeoutError as error:
            raise ConnectionError(f"no answer within {_CONNECT_SECONDS} s") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(str(error)) from error

    return connect


def prepare(engine: AsyncEngine, *, write: bool) -> None:
    event.listen(engine.sync_engine, "checkout", _refuse_broken)
    event.listen(engine.sync_engine, "before_cursor_execute", _without_nul, retval=True)
    if write:
        event.listen(engine.sync_engine, "begin", _wait_for_turn)


def is_outage(error: DBAPIError) -> bool:
    """Whether the same may succeed later."""
    if isinstance(getattr(error.orig, "__cause__", None), ValueError):  # the driver's word for a value of a wrong type
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    return (
        isinstance(error, (OperationalError, InterfaceError))
        or error.connection_invalidated
        or state.startswith(_PASSING)
    )


def without_class(said: str) -> str:
    """The adapter puts the name of a class before what the server said."""
    return re.sub(r"^<class '[\w.]+'>: ", "", said)


def _wait_for_turn(connection: Connection) -> None:
    connection.exec_driver_sql(_WAIT_FOR_TURN)


def _refuse_broken(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    """The pool opens another: after a restart of the server nobody has to meet the old ones."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError


def _without_nul(
    _connection: object, _cursor: object, statement: str, parameters: Any, _context: object, executemany: bool
) -> tuple[str, Any]:
    """A title from the net may hold what no text of PostgreSQL can."""
    return statement, [_clean(row) for row in parameters] if executemany else _clean(parameters)


def _clean(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value for value in row)
