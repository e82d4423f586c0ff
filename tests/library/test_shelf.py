"""What the library knows of files that are gone, and of the folders in which they lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reelin.library import FileRecord, Library
from tests.library.samples import MEDIA_ID, begun, fail, new_job, publication, publish

OTHER = "2" * 32
LATER = datetime.now(UTC) + timedelta(days=1)


async def row(library: Library, name: str = "one") -> FileRecord:
    (found,) = await library.videos.files_of_job(f"video-{name}")
    return found


async def state(library: Library, name: str = "one") -> str:
    return (await library.videos.get((await row(library, name)).video_id)).state


async def lose(library: Library, name: str = "one") -> None:
    await library.shelf.note_looked_for(gone=[await row(library, name)], back=[], looked_at=LATER)


async def find(library: Library, name: str = "one") -> None:
    await library.shelf.note_looked_for(gone=[], back=[await row(library, name)], looked_at=LATER)


async def published(library: Library, name: str = "one") -> None:
    await library.jobs.submit(new_job(name))
    await publish(library, f"video-{name}")


async def test_a_missing_file_keeps_its_row_and_comes_back(library: Library) -> None:
    await published(library)
    await lose(library)
    assert await state(library) == "missing" and (await row(library)).missing_since == LATER
    assert [file.id for file in await library.shelf.missing_after(MEDIA_ID, "")] == [(await row(library)).id]
    assert (await library.jobs.submit(new_job())).fresh, "whoever submits it gets it again"
    await library.jobs.cancel("video-one", 2)
    await find(library)
    assert await state(library) == "downloaded"
    compared = await library.shelf.unverified_after(MEDIA_ID, "")
    assert compared is not None
    await library.shelf.note_compared(compared, equal=True)
    assert await library.shelf.unverified_after(MEDIA_ID, "") is None
    assert await state(library) == "downloaded"


async def test_another_file_in_its_place_makes_it_missing_until_that_one_is_gone(library: Library) -> None:
    await published(library)
    await lose(library)
    await find(library)
    await library.shelf.note_compared(await row(library), equal=False)
    assert await state(library) == "missing" and (await row(library)).unverified
    await lose(library)
    assert not (await row(library)).unverified


async def test_a_missing_video_whose_download_ends_is_missing_again_or_failed(library: Library) -> None:
    await published(library)
    await lose(library)
    await library.jobs.submit(new_job())
    job = await begun(library, "video-one")
    assert await state(library) == "downloading"
    await lose(library)
    assert await state(library) == "downloading"
    await library.jobs.cancel("video-one", job.run)
    assert await state(library) == "missing"
    await library.jobs.submit(new_job())
    await fail(library, "video-one")
    assert await state(library) == "failed"
    await lose(library)
    assert await state(library) == "failed"
    await find(library)
    assert await state(library) == "downloaded"


async def test_a_path_belongs_to_one_file_in_each_folder(library: Library) -> None:
    await published(library)
    path = (await row(library)).path
    for name, media_id in (("two", OTHER), ("three", MEDIA_ID)):
        await library.jobs.submit(new_job(name))
        job = await begun(library, f"video-{name}")
        assert await library.videos.publish(replace(publication(name, run=job.run, paths=(path,)), media_id=media_id))
        if name == "two":
            assert (await row(library)).path == path
    assert await library.videos.files_of_job("video-one") == ()
    assert (await row(library, "two")).media_id == OTHER
    assert [file.job_id for file in await library.shelf.files_after(MEDIA_ID, "")] == ["video-three"]


async def test_folders_count_from_when_they_are_marked_and_the_first_takes_over_what_had_none(library: Library) -> None:
    await library.jobs.submit(new_job())
    job = await begun(library, "video-one")
    old = replace(publication(run=job.run), media_id=None)  # type: ignore[arg-type]
    assert await library.videos.publish(old) is not None
    folders = library.media_folders
    assert [file.job_id for file in await folders.unclaimed_files(limit=5)] == ["video-one"]
    await folders.make_known(MEDIA_ID, "here:/media")
    assert await folders.marked() == []
    await folders.note_marked(MEDIA_ID)
    assert (await row(library)).media_id == MEDIA_ID and await folders.file_counts() == {MEDIA_ID: 1}
    await folders.make_known(MEDIA_ID, "there:/media")
    await folders.make_known(OTHER, "there:/other")
    await folders.note_marked(OTHER)
    assert [(each.id, each.place) for each in await folders.marked()] == [
        (MEDIA_ID, "there:/media"),
        (OTHER, "there:/other"),
    ]
    assert await folders.find("3" * 32) is None
