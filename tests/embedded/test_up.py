"""`reelin up` as a program: what it says when it cannot start, and that it stops cleanly."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from reelin.library import Library
from tests.service.service import Service
from tests.waiting import PATIENCE


def _up(
    folder: Path, *arguments: str, cwd: Path | None = None, command: str = "up", **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REELIN_")}
    return subprocess.run(
        [sys.executable, "-m", "reelin.cli", command, *arguments],
        env={**clean, "REELIN_DATA_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=cwd,
    )


def _is_one_clear_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stderr.strip()
    assert done.returncode == 2, done
    assert "Traceback" not in said
    for word in words:
        assert word in " ".join(said.split()), said
    assert len(said) < 500


def test_a_second_up_on_the_same_folder_says_where_the_first_is(tmp_path: Path) -> None:
    service = Service(tmp_path).start()
    try:
        _is_one_clear_line(_up(service.data_dir), "already", service.note["url"])
        assert httpx.get(service.note["url"] + "/healthz").status_code == 200
    finally:
        assert service.stop() == 0, service.said()
        service.close()
    assert not (service.data_dir / "up.json").exists()
    assert service.tree() == []


def test_a_port_that_was_asked_for_and_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _is_one_clear_line(_up(tmp_path, "--port", str(port)), f"127.0.0.1:{port}", "--port")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    _is_one_clear_line(_up(tmp_path / "file" / "data"), "REELIN_DATA_DIR")
    _is_one_clear_line(_up(tmp_path / "data", REELIN_MEDIA_DIR=str(tmp_path / "file" / "media")), "REELIN_MEDIA_DIR")


def test_off_loopback_it_does_not_start_without_a_token(tmp_path: Path) -> None:
    _is_one_clear_line(_up(tmp_path, "--host", "0.0.0.0"), "REELIN_API_TOKEN", "--no-auth")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"REELIN_MAX_DOWNLOAD": "3"}, ["REELIN_MAX_DOWNLOAD", "Did you mean REELIN_MAX_DOWNLOADS?"]),
        ({"REELIN_MAX_DOWNLOADS": "many"}, ["REELIN_MAX_DOWNLOADS", "many"]),
        ({"REELIN_EGRESS_ALLOW": "10.0.0.0/99"}, ["REELIN_EGRESS_ALLOW"]),
        ({"REELIN_MIN_FREE_BYTES": "-1"}, ["REELIN_MIN_FREE_BYTES"]),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, environment: dict[str, str], words: list[str]) -> None:
    _is_one_clear_line(_up(tmp_path, **environment), *words)


def test_a_misspelt_setting_in_the_env_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REELIN_MEDIADIR=/tmp\n")
    _is_one_clear_line(_up(tmp_path / "data", cwd=tmp_path), "REELIN_MEDIADIR", "Did you mean REELIN_MEDIA_DIR?")


def test_a_full_disk_is_one_clear_line(mounted: Callable[[str], Path]) -> None:
    small, tiny = mounted("30m"), mounted("16k")
    _is_one_clear_line(_up(tiny / "data"), str(tiny), "free space")
    _is_one_clear_line(_up(small / "data"), str(small), "Free some")


def test_a_taken_default_port_gives_way_to_a_free_one_and_that_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8484))
            taken.listen()
        except OSError:
            pass  # somebody has it already: as good
        service = Service(tmp_path, REELIN_PORT="")
        service.start()
        assert "Port 8484 is taken; the API is on" in service.said()
        assert service.api.get("/healthz").status_code == 200
        assert service.stop() == 0
        service.close()


def test_a_missing_ffmpeg_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    _is_one_clear_line(_up(tmp_path, IMAGEIO_FFMPEG_EXE=str(tmp_path / "nothing"), PATH=""), "ffmpeg", "install")


@pytest.mark.parametrize("command", ["up", "serve", "worker"])
def test_a_database_of_a_newer_version_is_one_clear_line(tmp_path: Path, command: str) -> None:
    path = tmp_path / "reelin.db"
    asyncio.run(_make_database(f"sqlite:///{path}"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("UPDATE schema_compatibility SET readable_from = '9999', reelin_version = '9.0.0'")
        database.commit()
    done = _up(tmp_path, command=command)
    _is_one_clear_line(done, "9999", "9.0.0", "Start the newer Reelin")


async def _make_database(url: str) -> None:
    library = Library(url)
    await library.open()
    await library.close()
