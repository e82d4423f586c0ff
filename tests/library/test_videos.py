"""What a download leaves in the library."""

from __future__ import annotations

import pytest

from reelin.errors import NotFound
from reelin.library import Library, VideoFilter
from tests.library.samples import new_job, publication


async def test_a_publication_is_video_files_and_outcome_at_once(library: Library) -> None:
    await library.jobs.submit(new_job())
    result = await library.videos.publish(publication(paths=("a.mp4", "a.en.vtt")))
    assert result is not None
    video = await library.videos.get(result["video_id"])
    assert (video.title, video.state, {file.path for file in video.files}) == (
        "Film one",
        "downloaded",
        {"a.mp4", "a.en.vtt"},
    )
    job = await library.jobs.get("video-one")
    assert (job.result, job.size_bytes) == (result, 20)
    first = result["files"][0]
    assert (await library.videos.file(video.id, first["id"])).path == first["path"]


async def test_publishing_twice_is_publishing_once(library: Library) -> None:
    await library.jobs.submit(new_job())
    assert await library.videos.publish(publication()) is not None
    assert await library.videos.publish(publication()) is None
    page = await library.videos.page(VideoFilter(), sort="-added_at", limit=10, cursor=None)
    assert len(page.items) == 1 and len(page.items[0].files) == 1


async def test_nothing_is_published_for_a_job_that_was_forgotten(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.jobs.forget("video-one")
    assert await library.videos.publish(publication()) is None
    page = await library.videos.page(VideoFilter(), sort="-added_at", limit=10, cursor=None)
    assert page.items == ()


async def test_a_new_run_replaces_the_files_of_the_last(library: Library) -> None:
    await library.jobs.submit(new_job())
    await library.videos.publish(publication(paths=("old.mp4", "old.jpg")))
    await library.jobs.submit(new_job(force=True))
    result = await library.videos.publish(publication(run=2, paths=("new.mp4",)))
    assert result is not None
    assert [file.path for file in (await library.videos.get(result["video_id"])).files] == ["new.mp4"]
    assert [file.path for file in await library.videos.files_of_job("video-one")] == ["new.mp4"]


async def test_videos_are_found_by_title_uploader_and_url(library: Library) -> None:
    for name in ("one", "two"):
        await library.jobs.submit(new_job(name))
        await library.videos.publish(publication(name, paths=(f"{name}.mp4",)))

    async def found(wanted: VideoFilter) -> list[str | None]:
        page = await library.videos.page(wanted, sort="title", limit=10, cursor=None)
        return [video.title for video in page.items]

    assert await found(VideoFilter(q="film TWO")) == ["Film two"]
    assert await found(VideoFilter(q="someone")) == ["Film one", "Film two"]
    assert await found(VideoFilter(q="org/one")) == ["Film one"]
    assert await found(VideoFilter(uploader="Nobody")) == []
    with pytest.raises(NotFound):
        await library.videos.get("v-none")
