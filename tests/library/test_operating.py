"""The other commands of docs/operating.md: PostgreSQL's backup, and a copy that becomes an installation of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from reelin.library import Library
from tests.library.samples import new_job
from tests.operating import COMMANDS, run_as_printed
from tests.postgres import PostgresServer


async def test_a_postgresql_database_is_backed_up_and_restored(postgres: PostgresServer, tmp_path: Path) -> None:
    url = await postgres.new()
    environment = {"REELIN_DATABASE_URL": url, "PATH": f"{postgres.programs}:{os.environ['PATH']}"}
    library = Library(url)
    await library.open()
    await library.jobs.submit(new_job("kept"))
    installation = library.installation
    await asyncio.to_thread(run_as_printed, "postgresql-backup", tmp_path, **environment)
    await library.jobs.submit(new_job("later"))
    await library.close()
    await asyncio.to_thread(run_as_printed, "postgresql-restore", tmp_path, **environment)
    restored = Library(url)
    await restored.open()
    assert restored.installation == installation
    assert await restored.jobs.find("video-kept") is not None
    assert await restored.jobs.find("video-later") is None
    await restored.close()


async def test_a_copy_becomes_another_installation(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'reelin.db'}"
    ids = []
    for _ in range(2):
        library = Library(url)
        await library.open()
        ids.append(library.installation)
        await library.close()
        run_as_printed("another-installation", tmp_path, REELIN_DATA_DIR=str(tmp_path))
    assert ids[0] != ids[1]


def test_every_command_is_run_by_a_test() -> None:
    tests = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.parent.rglob("test_operating.py")
    )
    assert [name for name in COMMANDS if f'"{name}"' not in tests] == []
