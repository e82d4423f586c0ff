"""A disk that fills up costs a pause."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.service.service import Service
from tests.waiting import until


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


def test_a_list_loses_no_item_to_a_share_that_is_only_read_for_a_while(
    new_service: Callable[..., Service], origin: Origin, mounted: Callable[[str], Path]
) -> None:
    share = mounted("40m")
    service = new_service(REELIN_MEDIA_DIR=str(share)).start()
    service.media_dir = share
    assert service.wait(service.submit(origin.url_for("/file/30000/share-first")).id).state is State.COMPLETED
    # Busy while somebody writes: the scratch folder is tidied after the job is done.
    until(lambda: subprocess.run(["mount", "-o", "remount,ro", str(share)], check=False).returncode == 0)
    ready = service.api.get("/readyz")
    assert ready.status_code == 503 and "Read-only" in ready.json()["media"]["reason"], ready.text
    listed = service.submit_list([origin.url_for(f"/file/30000/share-{number}") for number in range(4)])
    for item in service.items(listed.id):
        waiting = service.wait_until(item.id, state=State.WAITING)
        assert waiting.failure is not None and waiting.failure.kind is FailureKind.STORAGE_UNAVAILABLE, waiting.failure
    subprocess.run(["mount", "-o", "remount,rw", str(share)], check=True)
    assert service.wait(listed.id, within=150).state is State.COMPLETED
    assert service.counts(listed.id).completed == 4
    assert len(list(share.glob("share-*"))) == 5
    assert service.api.get("/readyz").json()["media"]["ok"]


def test_a_disk_that_is_not_mounted_at_the_start_is_waited_for_and_nothing_is_forgotten(
    new_service: Callable[..., Service], origin: Origin
) -> None:
    service = new_service().start()
    url = origin.url_for("/file/30000/unplugged-one")
    done = service.wait(service.submit(url).id)
    assert done.result is not None
    assert service.stop() == 0
    unplugged = service.media_dir.rename(service.media_dir.with_name("unplugged"))
    service.media_dir.mkdir()
    service.start()
    assert "not mounted" in service.api.get("/readyz").json()["media"]["reason"]
    other = service.submit(origin.url_for("/file/30000/unplugged-two"))
    waiting = service.wait_until(other.id, state=State.WAITING)
    assert waiting.failure is not None and waiting.failure.kind is FailureKind.STORAGE_UNAVAILABLE
    assert service.submit(url).state is State.COMPLETED, "it is on the disk that is not here"
    assert service.api.get(done.result["files"][0]["url"]).status_code == 503
    video = service.api.get(f"/api/videos/{done.result['video_id']}").json()
    assert (video["state"], video["files"][0]["missing_since"]) == ("downloaded", None)
    assert list(service.media_dir.iterdir()) == []
    service.media_dir.rmdir()
    unplugged.rename(service.media_dir)
    assert service.wait(other.id, within=90).state is State.COMPLETED
    assert service.api.get(done.result["files"][0]["url"]).status_code == 200


def test_a_file_in_the_way_of_a_folder_holds_up_no_other_download(service: Service, origin: Origin) -> None:
    first = service.wait(service.submit(origin.url_for("/file/120000/in-the-way"), options={"filename": "{id}"}).id)
    name = service.path_of(first).name
    blocked = service.submit(origin.url_for("/file/120000/behind"), options={"folder": name})
    other = service.submit(origin.url_for("/file/120000/beside"))
    failed = service.wait(blocked.id)
    assert failed.failure is not None and failed.failure.kind is FailureKind.BAD_OPTIONS
    assert name in failed.failure.message
    assert service.wait(other.id).state is State.COMPLETED
