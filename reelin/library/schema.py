"""Which revision a database has, whether this Reelin may run on it, and how it is brought to the newest one.

A migration that only adds (tables, indexes, columns that may be left out) says `additive = True`: an older process goes
on running on it, and may start again. The database says itself which revision a process has to know, at least.
"""

from __future__ import annotations

import functools
from collections.abc import Set
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from reelin import __version__
from reelin.errors import StartupError
from reelin.library import postgres
from reelin.library.tables import metadata, schema_compatibility

MIGRATIONS = Path(__file__).parent / "migrations"
_RESTORE = "Restore a backup of it (docs/operating.md), or point REELIN_DATABASE_URL to another database."


def bring_up_to_date(connection: Connection, shown: str) -> None:
    """In the transaction that holds the writer's lock. `shown` names the database. Raises StartupError, DBAPIError."""
    there = _find_columns(connection)
    found = _find_revision(connection, shown, there.keys())
    known = revisions()
    if found is not None and found not in known:
        if schema_compatibility.name not in there:
            raise _foreign(shown)
        _check_newer(connection, shown, found)
    elif found != known[-1]:
        _migrate(connection, shown, found)
    _check_complete(connection, shown)


def readable_from() -> str:
    """The newest revision that does more than add: what a process has to know, at least, to run on the newest one."""
    return next(revision for revision in reversed(revisions()) if not additive(revision))


def additive(revision: str) -> bool:
    return getattr(_scripts_in(MIGRATIONS).get_revision(revision).module, "additive", False) is True


def _find_revision(connection: Connection, shown: str, tables: Set[str]) -> str | None:
    """None where there is nothing yet."""
    if "alembic_version" in tables:
        found = [str(row[0]) for row in connection.execute(text("SELECT version_num FROM alembic_version"))]
        if len(found) == 1:
            return found[0]
    if not tables:
        return None
    if tables & metadata.tables.keys():
        raise StartupError(f"The database {shown} has Reelin's tables, and not one revision of them. {_RESTORE}")
    raise _foreign(shown)


def _check_newer(connection: Connection, shown: str, found: str) -> None:
    """Raises StartupError, unless that revision only adds to what this Reelin knows."""
    wanted = connection.execute(select(schema_compatibility)).first()
    newest = revisions()[-1]
    if wanted is None or wanted.readable_from > newest:
        made_by, needed = (wanted.reelin_version, wanted.readable_from) if wanted else ("a newer version", found)
        raise StartupError(
            f"The database {shown} has revision {found}, made by Reelin {made_by}, and needs a Reelin that knows "
            f"revision {needed}; this is {__version__}, which knows {newest}. Start the newer Reelin, or restore the "
            "backup from before the upgrade (docs/operating.md)."
        )


def _migrate(connection: Connection, shown: str, found: str | None) -> None:
    """All of it or nothing: the caller commits."""
    try:
        command.upgrade(_config(connection), "head")
    except DBAPIError as error:
        if isinstance(error, (OperationalError, InterfaceError)) and not _is_about_the_schema(error):
            raise
        raise StartupError(
            f"The database {shown} cannot be brought from revision {found} to {revisions()[-1]} "
            f"({reason_of(error)}); nothing was changed. {_RESTORE}"
        ) from error
    connection.execute(delete(schema_compatibility))
    connection.execute(insert(schema_compatibility).values(readable_from=readable_from(), reelin_version=__version__))


def _is_about_the_schema(error: DBAPIError) -> bool:
    """SQLite has one kind of error for a column that is there already and for a disk that is full."""
    return any(word in str(error.orig) for word in ("duplicate column", "already exists", "no such"))


def _check_complete(connection: Connection, shown: str) -> None:
    """Whether all that this Reelin reads and writes is there; more may be. Raises StartupError."""
    there = _find_columns(connection)
    for table in metadata.sorted_tables:
        missing = {column.name for column in table.columns} - there.get(table.name, set())
        if missing:
            what = f"{table.name}.{min(missing)}" if table.name in there else f"the table {table.name}"
            raise StartupError(f"The database {shown} is damaged: it lacks {what}. {_RESTORE}")


#: Tables, without those of the database itself and of its extensions.
_COLUMNS = {
    "sqlite": (
        "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p "
        "WHERE m.type = 'table' AND substr(m.name, 1, 7) <> 'sqlite_'"
    ),
    "postgresql": (
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) "
        "AND c.relkind IN ('r', 'p') AND NOT a.attisdropped "
        "AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
    ),
}


def _find_columns(connection: Connection) -> dict[str, Set[str]]:
    """Of each table."""
    found: dict[str, Set[str]] = {}
    for table, column in connection.exec_driver_sql(_COLUMNS[connection.dialect.name]):
        found[table] = found.get(table, frozenset()) | {column}
    return found


def _foreign(shown: str) -> StartupError:
    return StartupError(
        f"The database {shown} belongs to another program: its tables are not Reelin's, and were left alone. "
        "Give Reelin an empty database of its own with REELIN_DATABASE_URL."
    )


def reason_of(error: Exception) -> str:
    """What the driver said, in one line."""
    said = str(getattr(error, "orig", error)) or type(error).__name__
    return postgres.without_class(said.splitlines()[0])


def revisions() -> tuple[str, ...]:
    """All that this Reelin knows, the newest last."""
    return _revisions_in(MIGRATIONS)


@functools.cache
def _revisions_in(folder: Path) -> tuple[str, ...]:
    return tuple(script.revision for script in reversed(list(_scripts_in(folder).walk_revisions())))


@functools.cache
def _scripts_in(folder: Path) -> ScriptDirectory:
    return ScriptDirectory(folder)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
