"""The media folder that a worker finds: the right one, an empty mount point, another's, a read-only or a silent one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reelin.activities import Housekeeping, MediaFolder, Presence, Scratch
from reelin.activities.marker import MARKER, read_marker, write_marker
from reelin.contracts.failures import FailureKind
from reelin.engine.filethreads import FileThreads
from reelin.errors import MediaFailure, StartupError
from reelin.library import FileRecord, Library, PublishedFile
from tests.library.samples import MEDIA_ID, begun, new_job, publication
from tests.media import THREADS, adopted, media_folder

CONTENT = b"0123456789"


@pytest.fixture
def media_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


@pytest.fixture
async def media(library: Library, media_dir: Path) -> MediaFolder:
    return await adopted(library, media_dir)


async def published(library: Library, media: MediaFolder, name: str, *, media_id: str = MEDIA_ID) -> Path:
    """A file that the library has, and that stands in the folder."""
    path = media.media_dir / f"{name}.mp4"
    path.write_bytes(CONTENT)
    await library.jobs.submit(new_job(name))
    job = await begun(library, f"video-{name}")
    made = publication(name, run=job.run, paths=(path.name,))
    hashed = tuple(
        PublishedFile(path=each.path, role=each.role, size_bytes=len(CONTENT), sha256=_hash(CONTENT))
        for each in made.files
    )
    assert await library.videos.publish(replace(made, media_id=media_id, files=hashed)) is not None
    return path


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def row(library: Library, name: str) -> FileRecord:
    (found,) = await library.videos.files_of_job(f"video-{name}")
    return found


async def state(library: Library, name: str) -> str:
    return (await library.videos.get((await row(library, name)).video_id)).state


async def refusal(media: MediaFolder) -> str:
    with pytest.raises(MediaFailure) as raised:
        await media.check()
    assert raised.value.kind is FailureKind.STORAGE_UNAVAILABLE
    assert await media.trouble() == raised.value.message
    assert str(media.media_dir) not in raised.value.message
    return raised.value.message


# Whose folder it is.


async def test_the_first_start_marks_the_folder_and_later_ones_know_it(library: Library, tmp_path: Path) -> None:
    media = media_folder(library, tmp_path / "new")
    assert await media.trouble() is None, "no worker has been there yet"
    await media.prepare()
    media_id = read_marker(media.media_dir)
    assert await media.check() == media_id
    assert [folder.id for folder in await library.media_folders.marked()] == [media_id]
    await media.prepare()
    assert read_marker(media.media_dir) == media_id and await media_folder(library, media.media_dir).check() == media_id


async def test_of_workers_that_start_at_once_in_one_folder_all_know_it_by_one_id(
    library: Library, media_dir: Path
) -> None:
    workers = [media_folder(library, media_dir) for _ in range(5)]
    await asyncio.gather(*(worker.prepare() for worker in workers))
    assert len({await worker.check() for worker in workers}) == 1
    assert [path.name for path in media_dir.iterdir() if path.name.startswith(MARKER)] == [MARKER]


async def test_a_crash_before_or_after_the_marker_was_written_harms_nobody(library: Library, media_dir: Path) -> None:
    media = media_folder(library, media_dir)
    await library.media_folders.make_known("1" * 32, "here")  # killed here, before the marker
    await media.prepare()
    first = read_marker(media_dir)
    assert first != "1" * 32 and await media.check() == first
    (media_dir / MARKER).unlink()
    other = media_folder(library, media_dir)
    await library.media_folders.make_known("2" * 32, "here")
    write_marker(media_dir, "2" * 32)  # killed here, before it was noted
    assert await other.check() == "2" * 32


async def test_an_empty_mount_point_is_not_the_folder_and_stays_empty(library: Library, media: MediaFolder) -> None:
    for name in ("one", "two"):
        await published(library, media, name)
    disk = media.media_dir.rename(media.media_dir.with_name("unplugged"))
    media.media_dir.mkdir()
    worker = media_folder(library, media.media_dir)  # a worker that is started then
    await worker.prepare()
    assert "not mounted" in await refusal(worker)
    presence, housekeeping = Presence(worker), Housekeeping(library, worker, Scratch(worker.scratch_dir, THREADS))
    await housekeeping.look()
    assert not await presence.note(library, await library.videos.files_of_job("video-one"))
    await presence.note_jobs(library, [new_job("one")])
    assert list(media.media_dir.iterdir()) == []
    assert [await state(library, name) for name in ("one", "two")] == ["downloaded", "downloaded"]
    media.media_dir.rmdir()
    assert "not mounted" in await refusal(worker)
    disk.rename(media.media_dir)
    await housekeeping.look()
    assert await worker.check() == MEDIA_ID and await worker.trouble() is None
    assert (await row(library, "one")).missing_since is None


async def test_a_folder_of_another_installation_is_told_from_ones_own(
    library: Library, media: MediaFolder, tmp_path: Path
) -> None:
    second = Library(f"sqlite:///{tmp_path / 'second.db'}")
    await second.open()
    try:
        intruder = media_folder(second, media.media_dir)
        with pytest.raises(StartupError, match=r"belongs to another installation.*reelin adopt --take-over"):
            await intruder.prepare()
        assert "another installation" in await refusal(intruder)
        assert await media.check() == MEDIA_ID
        mine = await intruder.adopt("2" * 32, replace=True)
        assert await intruder.check() == mine == "2" * 32
        assert "another installation" in await refusal(media)
    finally:
        await second.close()


async def test_a_marker_that_nobody_has_written_is_not_taken_for_none(library: Library, media: MediaFolder) -> None:
    (media.media_dir / MARKER).write_text("")
    assert "none that Reelin has written" in await refusal(media)


async def test_a_library_from_before_markers_adopts_the_folder_of_its_files_only(
    library: Library, media_dir: Path
) -> None:
    before = media_folder(library, media_dir)
    path = await published(library, before, "one", media_id=None)  # type: ignore[arg-type]
    path.rename(media_dir.with_name("away.mp4"))
    with pytest.raises(StartupError, match="has none of them"):
        await before.prepare()
    assert read_marker(media_dir) is None
    media_dir.with_name("away.mp4").rename(path)
    await before.prepare()
    assert (await row(library, "one")).media_id == read_marker(media_dir)


async def test_workers_with_folders_of_their_own_leave_each_others_files_alone(
    library: Library, media: MediaFolder, tmp_path: Path
) -> None:
    other = await adopted(library, tmp_path / "other", media_id="2" * 32)
    await published(library, media, "one")
    theirs = await published(library, other, "two", media_id="2" * 32)
    for each in (media, other):
        assert await Presence(each).sweep(library) == 0
    assert not await Presence(media).note(library, await library.videos.files_of_job("video-two"))
    theirs.unlink()
    assert await Presence(media).sweep(library) == 0
    assert await state(library, "two") == "downloaded"
    assert await Presence(other).sweep(library) == 1
    assert (await state(library, "one"), await state(library, "two")) == ("downloaded", "missing")


async def test_one_name_in_two_folders_is_two_files(library: Library, media: MediaFolder, tmp_path: Path) -> None:
    other = await adopted(library, tmp_path / "other", media_id="2" * 32)
    await published(library, media, "one")
    (other.media_dir / "one.mp4").write_bytes(CONTENT)
    await library.jobs.submit(new_job("two"))
    job = await begun(library, "video-two")
    same = replace(publication("two", run=job.run, paths=("one.mp4",)), media_id="2" * 32)
    assert await library.videos.publish(same) is not None
    assert (await row(library, "one")).path == (await row(library, "two")).path
    assert await state(library, "one") == await state(library, "two") == "downloaded"


# What is gone, and comes back.


async def test_a_file_that_is_gone_is_missing_and_is_taken_back_when_it_is_there_again(
    library: Library, media: MediaFolder
) -> None:
    presence = Presence(media)
    path = await published(library, media, "one")
    stays = await published(library, media, "two")
    away = path.rename(path.with_suffix(".away"))
    assert await presence.sweep(library) == 1
    assert await presence.sweep(library) == 0, "it is told once"
    missing = await row(library, "one")
    assert missing.missing_since is not None and await state(library, "one") == "missing"
    assert (await library.jobs.submit(new_job("one"))).fresh and stays.exists()
    await library.jobs.cancel("video-one", 2)
    away.rename(path)
    assert await presence.welcome(library) == 1
    assert await state(library, "one") == "downloaded"
    assert (await row(library, "one")).unverified
    assert await presence.compare(library) == 0
    assert not (await row(library, "one")).unverified and await state(library, "one") == "downloaded"


async def test_what_stands_in_a_missing_files_place_is_not_taken_for_it(library: Library, media: MediaFolder) -> None:
    presence = Presence(media)
    path = await published(library, media, "one")
    path.unlink()
    assert await presence.sweep(library) == 1
    path.write_bytes(b"of another size")
    assert await presence.welcome(library) == 0
    path.write_bytes(CONTENT[::-1])  # of the same size: the hash tells, in its time
    assert await presence.welcome(library) == 1
    assert await presence.compare(library) == 1
    assert await state(library, "one") == "missing"
    assert await presence.welcome(library) == 0, "it was compared already"
    path.unlink()
    assert await presence.sweep(library) == 1
    path.write_bytes(CONTENT)
    assert (await presence.welcome(library), await presence.compare(library)) == (1, 0)
    assert await state(library, "one") == "downloaded"


async def test_a_file_that_is_asked_for_while_it_is_missing_is_taken_back_at_once(
    library: Library, media: MediaFolder
) -> None:
    path = await published(library, media, "one")
    path.unlink()
    await Presence(media).sweep(library)
    path.write_bytes(CONTENT)
    await Presence(media).note_jobs(library, [new_job("one")])
    assert await state(library, "one") == "downloaded"
    assert not (await library.jobs.submit(new_job("one"))).fresh


async def test_who_publishes_under_a_missing_files_name_leaves_its_video_missing(
    library: Library, media: MediaFolder
) -> None:
    path = await published(library, media, "one")
    video_id = (await row(library, "one")).video_id
    path.unlink()  # and nobody has looked
    await library.jobs.submit(new_job("two"))
    job = await begun(library, "video-two")
    assert await library.videos.publish(publication("two", run=job.run, paths=("one.mp4",))) is not None
    video = await library.videos.get(video_id)
    assert (video.state, video.files) == ("missing", ())


async def test_a_download_that_is_cancelled_leaves_a_missing_video_missing(
    library: Library, media: MediaFolder
) -> None:
    path = await published(library, media, "one")
    path.unlink()
    await Presence(media).sweep(library)
    await library.jobs.submit(new_job("one"))
    job = await begun(library, "video-one")
    assert await state(library, "one") == "downloading"
    await library.jobs.cancel("video-one", job.run)
    assert await state(library, "one") == "missing"


async def test_what_is_published_while_it_is_looked_for_is_not_missing(library: Library, media: MediaFolder) -> None:
    path = await published(library, media, "one")
    record = await row(library, "one")
    before = record.published_at
    await library.shelf.note_looked_for(gone=[record], back=[], looked_at=before)
    assert (await row(library, "one")).missing_since is None and path.exists()


# A folder that cannot be written to, or does not answer.


async def test_a_read_only_folder_is_a_pause_and_told_with_the_reason(
    library: Library, mounted: Callable[[str], Path]
) -> None:
    disk = mounted("3m")
    media = await adopted(library, disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert "Read-only file system" in await refusal(media)
    with pytest.raises(MediaFailure, match="Read-only"):
        async with media.in_use():
            raise AssertionError
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert await media.check() == MEDIA_ID


async def test_what_fails_while_the_folder_is_away_fails_because_of_that(library: Library, media: MediaFolder) -> None:
    with pytest.raises(ValueError, match="its own fault"):
        async with media.in_use():
            raise ValueError("its own fault")
    with pytest.raises(MediaFailure) as raised:
        async with media.in_use():
            media.media_dir.rename(media.media_dir.with_name("unplugged"))
            raise ValueError("some part of ffmpeg stumbled")
    assert raised.value.kind is FailureKind.STORAGE_UNAVAILABLE


@pytest.fixture
def hanging(media_dir: Path) -> Iterator[Callable[[Path], None]]:
    """Makes a path at which whoever opens it waits, as on a share whose server is gone. Ends them in the end."""
    pipes: list[Path] = []

    def hang(path: Path) -> None:
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        pipes.append(path)

    yield hang
    for pipe in pipes:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                break  # nobody waits there any more
            time.sleep(0.01)


async def test_a_folder_that_does_not_answer_holds_up_nobody_but_who_asks(
    library: Library, media: MediaFolder, hanging: Callable[[Path], None]
) -> None:
    hanging(media.media_dir / MARKER)
    slow = media_folder(library, media.media_dir, threads=FileThreads("slow", longest_call_seconds=0.2))
    begun_at = time.monotonic()
    failures = await asyncio.gather(*(slow.check() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(failure, MediaFailure) and "does not answer" in failure.message for failure in failures)
    assert time.monotonic() - begun_at < 3
    assert await asyncio.to_thread(lambda: 1) == 1, "threads for all else are free"
    assert not await Presence(slow).note(library, [])


async def test_a_call_that_was_left_behind_is_not_made_again_beside_it(
    media_dir: Path, hanging: Callable[[Path], None]
) -> None:
    pipe = media_dir / "hangs"
    hanging(pipe)
    threads = FileThreads("slow", longest_call_seconds=0.1)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="does not answer"):
            await threads.run_alone("one", 0.0, pipe.read_bytes)
    assert await threads.run_alone("another", 0.0, lambda: 1) == 1
    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    async with asyncio.timeout(5):
        while True:
            try:
                assert await threads.run_alone("one", 0.0, lambda: 2) == 2
                return
            except TimeoutError:
                await asyncio.sleep(0.01)
