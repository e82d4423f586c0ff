"""Backup and restore by the commands of docs/operating.md, on a running service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.operating import run_as_printed
from tests.service.service import Service


def test_after_a_restore_every_file_is_found_again_and_none_is_there_twice(
    new_service: Callable[..., Service], origin: Origin, tmp_path: Path
) -> None:
    service = new_service().start()
    folders = {"REELIN_DATA_DIR": str(service.data_dir), "REELIN_MEDIA_DIR": str(service.media_dir)}
    (service.data_dir / "cookies").mkdir(exist_ok=True)
    before = service.wait(service.submit(origin.url_for("/file/100000/before")).id)
    during = service.submit(origin.url_for("/file/1200000/during", rate=400_000))
    service.wait_until(during.id, percent=5)
    run_as_printed("backup", tmp_path, **folders)
    assert service.wait(during.id).state is State.COMPLETED
    after = service.wait(service.submit(origin.url_for("/file/100000/after")).id)
    files = _media(service)
    assert len(files) == 3
    assert service.stop() == 0

    run_as_printed("restore", tmp_path, **folders)
    service.start()
    assert service.job(before.id).state is State.COMPLETED
    assert service.api.get(f"/api/jobs/{after.id}").status_code == 404
    again = service.wait(during.id)
    assert again.state is State.COMPLETED
    unknown = service.wait(service.submit(origin.url_for("/file/100000/after")).id)
    assert service.path_of(unknown).read_bytes() == origin.reference("/file/100000/after")
    assert _media(service) == files, "found again, and not fetched as (2)"
    assert service.stop() == 0, service.said()


def _media(service: Service) -> dict[str, int]:
    """Each published file, and which one it is."""
    """The media; the folder's marker is none."""
    return {path.name: path.stat().st_ino for path in service.media_dir.iterdir() if path.suffix == ".mp4"}
