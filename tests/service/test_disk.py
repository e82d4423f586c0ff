"""A disk that fills up costs a pause."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.service.service import Service


def test_a_download_waits_for_the_room_that_another_has_claimed(
    new_service: Callable[..., Service], origin: Origin, mounted: Callable[[str], Path]
) -> None:
    small_disk = mounted("10m")
    service = new_service(REELIN_MEDIA_DIR=str(small_disk)).start()
    service.media_dir = small_disk
    first = service.submit(origin.url_for("/file/6000000/claims-first", rate=1_000_000))
    service.wait_until(first.id, percent=10)
    second = service.submit(origin.url_for("/file/6000000/claims-second"))
    waiting = service.wait_until(second.id, state=State.WAITING)
    assert waiting.failure is not None
    assert waiting.failure.kind is FailureKind.DISK_FULL
    assert "claimed" in waiting.failure.message
    assert service.wait(first.id).state is State.COMPLETED
    assert service.job(second.id).state is State.WAITING
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    done = service.wait(second.id)
    assert done.state is State.COMPLETED, done.failure
    assert service.path_of(done).read_bytes() == origin.reference("/file/6000000/claims-second")


def test_a_full_disk_makes_the_job_wait_until_there_is_room(
    new_service: Callable[..., Service], origin: Origin, mounted: Callable[[str], Path]
) -> None:
    small_disk = mounted("3m")
    path = "/file/5000000/too-much-for-the-disk"
    service = new_service(REELIN_MEDIA_DIR=str(small_disk)).start()
    service.media_dir = small_disk
    job = service.submit(origin.url + path)
    waiting = service.wait_until(job.id, state=State.WAITING)
    assert waiting.failure is not None
    assert waiting.failure.kind is FailureKind.DISK_FULL, waiting.failure
    assert waiting.next_attempt_at is not None
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    done = service.wait(job.id)
    assert done.state is State.COMPLETED, done.failure
    assert service.path_of(done).read_bytes() == origin.reference(path)
