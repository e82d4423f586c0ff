"""The library, and the bytes of its files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from reelin.contracts.media import Metadata, Role
from reelin.library import Publication, PublishedFile
from tests.api.service import Api, running_job
from tests.library.samples import MEDIA_ID
from tests.media import adopted

CONTENT = bytes(range(256)) * 400
NAME = 'Ünïcode "quoted" 100%.mp4'


async def _publish(
    api: Api, name: str, path: str, content: bytes = CONTENT, *, title: str = "Film", media_id: str = MEDIA_ID
) -> dict[str, Any]:
    """The video's file as the API lists it."""
    target = api.parts.settings.media_dir / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    await running_job(api.library, name)
    url = f"https://example.org/{name}"
    file = PublishedFile(
        path=path, role=Role.MEDIA, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    metadata = Metadata(url=url, title=title, extractor="generic", extractor_id="1", uploader="Someone")
    result = await api.library.videos.publish(
        Publication(
            media_id=media_id, job_id=f"video-{name}", run=1, owner="local", url=url, metadata=metadata, files=(file,)
        )
    )
    assert result is not None
    video = (await api.client.get(f"/api/videos/{result['video_id']}")).json()
    listed: dict[str, Any] = video["files"][0]
    return listed


@pytest.fixture
async def file(served: Api) -> AsyncIterator[dict[str, Any]]:
    yield await _publish(served, "one", f"talks/{NAME}")


async def test_the_library_is_searched_and_paged(api: Api) -> None:
    for name, title in (("a", "Alpha"), ("b", "Beta"), ("c", "Gamma")):
        await _publish(api, name, f"{name}.mp4", title=title)
    first = (await api.client.get("/api/videos", params={"limit": 2, "sort": "title"})).json()
    assert [video["title"] for video in first["items"]] == ["Alpha", "Beta"]
    query = {"limit": 2, "sort": "title", "cursor": first["next_cursor"]}
    rest = (await api.client.get("/api/videos", params=query)).json()
    assert ([video["title"] for video in rest["items"]], rest["next_cursor"]) == (["Gamma"], None)
    for wanted, found in (
        ({"q": "alph"}, 1),
        ({"q": "%"}, 0),
        ({"uploader": "Someone"}, 3),
        ({"site": "example.com"}, 0),
        ({"state": "downloaded"}, 3),
        ({"state": "wanted"}, 0),
    ):
        assert len((await api.client.get("/api/videos", params=wanted)).json()["items"]) == found, wanted


async def test_a_video_has_what_the_extractor_said_and_its_files(api: Api) -> None:
    file = await _publish(api, "one", "one.mp4")
    video = (await api.client.get(file["url"].partition("/files/")[0])).json()
    assert (video["title"], video["uploader"], video["state"], video["site"]) == (
        "Film",
        "Someone",
        "downloaded",
        "example.org",
    )
    assert (file["role"], file["path"], file["size_bytes"]) == ("media", "one.mp4", len(CONTENT))


async def test_a_file_arrives_byte_for_byte(served: Api, file: dict[str, Any]) -> None:
    answer = await served.client.get(file["url"])
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["etag"] == f'"{file["sha256"]}"'
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("inline")
    head = await served.client.head(file["url"])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(CONTENT)), b"")


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, len(CONTENT)), ("bytes=-7", len(CONTENT) - 7, len(CONTENT))],
)
async def test_a_file_is_read_in_ranges(served: Api, file: dict[str, Any], wanted: str, start: int, end: int) -> None:
    answer = await served.client.get(file["url"], headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


async def test_a_range_beyond_the_end_says_how_long_the_file_is(served: Api, file: dict[str, Any]) -> None:
    answer = await served.client.get(file["url"], headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("wanted", ["bytes=5-1", "bytes=a-b", "lines=1-2"])
async def test_a_range_that_cannot_be_read_is_refused_by_name(served: Api, file: dict[str, Any], wanted: str) -> None:
    answer = await served.client.get(file["url"], headers={"Range": wanted})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["field"] == "Range"


async def test_a_part_is_given_only_of_the_same_bytes(served: Api, file: dict[str, Any]) -> None:
    same = {"Range": "bytes=0-9", "If-Range": f'"{file["sha256"]}"'}
    assert (await served.client.get(file["url"], headers=same)).status_code == 206
    other = {"Range": "bytes=0-9", "If-Range": '"something else"'}
    assert (await served.client.get(file["url"], headers=other)).content == CONTENT


async def test_a_file_that_the_client_has_is_not_sent_again(served: Api, file: dict[str, Any]) -> None:
    for tag in (f'"{file["sha256"]}"', f'"x", W/"{file["sha256"]}"', "*"):
        answer = await served.client.get(file["url"], headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content) == (304, b"")
    assert (await served.client.get(file["url"], headers={"If-None-Match": '"x"'})).status_code == 200


async def test_a_download_has_its_name(served: Api, file: dict[str, Any]) -> None:
    answer = await served.client.get(file["url"], params={"download": 1})
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; filename=\"_n_code _quoted_ 100_.mp4\"; filename*=UTF-8''")
    assert disposition.endswith(quote(NAME, safe=""))


@pytest.mark.parametrize("suffix", ["html", "svg", "xml", "txt", "js", "pdf", "vtt", "unknown", "MP4.html"])
async def test_only_media_is_shown_in_place(api: Api, suffix: str) -> None:
    file = await _publish(api, "one", f"one.{suffix}", b"<script>alert(1)</script>")
    answer = await api.client.get(file["url"])
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"].partition(";")[0] in ("application/octet-stream", "text/vtt")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_file_that_is_gone_says_how_to_fetch_it_again(served: Api, file: dict[str, Any]) -> None:
    await asyncio.to_thread((served.parts.settings.media_dir / file["path"]).unlink)
    answer = await served.client.get(file["url"])
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "submit the video's URL again" in answer.json()["errors"][0]["remedy"]


async def test_a_file_that_comes_back_is_served_and_missed_no_more(served: Api, file: dict[str, Any]) -> None:
    path = served.parts.settings.media_dir / file["path"]
    away = await asyncio.to_thread(path.rename, path.with_suffix(".away"))
    assert (await served.client.get(file["url"])).status_code == 404
    video = file["url"].partition("/files/")[0]
    seen = (await served.client.get(video)).json()
    assert seen["state"] == "missing" and seen["files"][0]["missing_since"]
    await asyncio.to_thread(away.rename, path)
    assert (await served.client.get(file["url"])).content == CONTENT
    seen = (await served.client.get(video)).json()
    assert (seen["state"], seen["files"][0]["missing_since"]) == ("downloaded", None)


async def test_a_file_whose_disk_is_not_here_is_neither_there_nor_gone(served: Api, file: dict[str, Any]) -> None:
    media = served.parts.settings.media_dir
    unplugged = await asyncio.to_thread(media.rename, media.with_name("unplugged"))
    await asyncio.to_thread(media.mkdir)
    answer = await served.client.get(file["url"])
    assert (answer.status_code, "not mounted" in answer.json()["detail"]) == (503, True)
    ready = await served.client.get("/readyz")
    assert ready.status_code == 503 and "reelin adopt" in ready.json()["media"]["reason"]
    video = file["url"].partition("/files/")[0]
    assert (await served.client.get(video)).json()["state"] == "downloaded"
    assert (await served.client.delete(video, params={"files": True})).status_code == 409
    again = await served.client.post("/api/jobs", json={"url": "https://example.org/one"})
    assert again.status_code in (200, 202)
    await asyncio.to_thread(media.rmdir)
    await asyncio.to_thread(unplugged.rename, media)
    assert (await served.client.get(file["url"])).status_code == 200
    assert (await served.client.get("/readyz")).status_code == 200


async def test_a_file_in_another_workers_folder_is_neither_served_nor_deleted_here(api: Api, tmp_path: Path) -> None:
    """Although a file of the same path stands in this one."""
    other = "2" * 32
    await adopted(api.library, tmp_path / "other", media_id=other)
    file = await _publish(api, "one", "one.mp4", media_id=other)
    answer = await api.client.get(file["url"])
    assert (answer.status_code, "another worker" in answer.json()["detail"]) == (503, True)
    video = file["url"].partition("/files/")[0]
    assert (await api.client.delete(video, params={"files": True})).status_code == 409
    assert (api.parts.settings.media_dir / "one.mp4").exists()
    assert (await api.client.delete(video)).status_code == 204


async def test_a_link_out_of_the_media_folder_is_not_followed(api: Api, tmp_path: Path) -> None:
    file = await _publish(api, "one", "one.mp4")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    target = api.parts.settings.media_dir / "one.mp4"
    target.unlink()
    target.symlink_to(secret)
    assert (await api.client.get(file["url"])).status_code == 404


async def test_a_file_belongs_to_its_video(api: Api) -> None:
    file = await _publish(api, "one", "one.mp4")
    other = await _publish(api, "two", "two.mp4")
    wrong = other["url"].rpartition("/")[0] + "/" + file["id"]
    answer = await api.client.get(wrong)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (404, "file_id")
