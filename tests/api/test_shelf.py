"""Wanting, removing and downloading videos; files that somebody took away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reelin.contracts.jobs import State
from tests.api.service import Api
from tests.library.samples import begun, fail, publication

URL = "https://example.org/one"
FOUND = {
    "title": "A film",
    "uploader": "Someone",
    "duration_seconds": 5.5,
    "uploaded_on": "2026-01-02",
    "extractor": "Example",
    "extractor_id": "77",
    "thumbnail_url": None,
}


async def _want(api: Api, **body: object) -> dict[str, Any]:
    answer = await api.client.post("/api/videos", json={"url": URL, **body})
    assert answer.status_code in (200, 201), answer.text
    video: dict[str, Any] = answer.json()
    return video


async def _publish(api: Api, job_id: str, *, path: str = "one.mp4") -> None:
    """The job brings a real file."""
    (api.parts.settings.media_dir / path).write_bytes(b"0123456789")
    job = await begun(api.library, job_id)
    published = publication(paths=(path,))
    described = published.metadata.model_copy(update={"extractor": "Example", "extractor_id": "77"})
    published = replace(published, job_id=job_id, run=job.run, url=job.url or "", metadata=described)
    assert await api.library.videos.publish(published) is not None


async def _download(api: Api, video_id: str, **body: object) -> tuple[int, dict[str, Any]]:
    answer = await api.client.post(f"/api/videos/{video_id}/download", json=body)
    return answer.status_code, answer.json()


async def test_a_wanted_video_keeps_its_id_once_it_is_known_and_fetched(api: Api) -> None:
    answer = await api.client.post("/api/videos", json={"url": URL, "preset": "720p"})
    video = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/videos/{video['id']}")
    assert (video["state"], video["title"], video["site"], video["files"]) == ("wanted", None, "example.org", [])
    (info,) = (await api.client.get("/api/jobs", params={"kind": "info"})).json()["items"]
    assert api.control.woken == [info["id"]]
    await begun(api.library, info["id"])
    await api.library.jobs.complete_info(info["id"], 1, title="A film", result=FOUND)
    known = (await api.client.get(f"/api/videos/{video['id']}")).json()
    assert (known["title"], known["extractor_id"], known["uploaded_on"]) == ("A film", "77", "2026-01-02")
    again = await api.client.post("/api/videos", json={"url": URL})
    assert (again.status_code, again.json()["id"]) == (200, video["id"])
    status, job = await _download(api, video["id"])
    assert (status, job["kind"], job["preset"]) == (202, "video", "720p")
    await _publish(api, job["id"])
    (listed,) = (await api.client.get("/api/videos")).json()["items"]
    assert (listed["id"], listed["state"], listed["files"][0]["path"]) == (video["id"], "downloaded", "one.mp4")


async def test_another_address_of_the_video_leads_to_the_same_entry(api: Api) -> None:
    video = await _want(api)
    (info,) = (await api.client.get("/api/jobs", params={"kind": "info"})).json()["items"]
    await begun(api.library, info["id"])
    await api.library.jobs.complete_info(info["id"], 1, title="A film", result=FOUND)
    job = await api.submit(url="https://example.org/short/77")
    await _publish(api, job.id)
    assert [each["id"] for each in (await api.client.get("/api/videos")).json()["items"]] == [video["id"]]


async def test_metadata_that_is_known_already_is_taken_over_at_once(api: Api) -> None:
    info = await api.submit(kind="info")
    await begun(api.library, info.id)
    await api.library.jobs.complete_info(info.id, 1, title="A film", result=FOUND)
    assert (await _want(api))["title"] == "A film"


async def test_the_state_follows_the_job(api: Api) -> None:
    video = await _want(api)

    async def state() -> str:
        return str((await api.client.get(f"/api/videos/{video['id']}")).json()["state"])

    _, job = await _download(api, video["id"])
    await begun(api.library, job["id"])
    assert await state() == "downloading"
    await fail(api.library, job["id"])
    assert await state() == "failed"
    await api.client.post(f"/api/jobs/{job['id']}/retry")
    run = (await begun(api.library, job["id"])).run
    assert await state() == "downloading"
    await api.library.jobs.cancel(job["id"], run)
    assert await state() == "wanted"
    await _download(api, video["id"])
    await begun(api.library, job["id"])
    await api.library.jobs.forget(job["id"])
    assert await api.library.shelf.settle() == 1
    assert await state() == "wanted"


async def test_a_file_that_was_taken_away_is_missed_and_fetched_again(api: Api) -> None:
    job = await api.submit()
    await _publish(api, job.id)
    (video,) = (await api.client.get("/api/videos")).json()["items"]
    assert (await _download(api, video["id"]))[0] == 200
    (api.parts.settings.media_dir / "one.mp4").unlink()
    seen = (await api.client.get(f"/api/videos/{video['id']}")).json()
    assert seen["state"] == "missing" and seen["files"][0]["missing_since"] is not None
    status, again = await _download(api, video["id"])
    assert (status, again["id"], again["state"]) == (202, job.id, "queued")
    await _publish(api, job.id)
    (api.parts.settings.media_dir / "one.mp4").unlink()
    resubmitted = await api.client.post("/api/jobs", json={"url": URL})
    assert (resubmitted.status_code, resubmitted.json()["state"]) == (202, "queued")


async def test_a_list_fetches_again_what_was_taken_away(api: Api) -> None:
    job = await api.submit()
    await _publish(api, job.id)
    counts = (await api.client.post("/api/jobs", json={"urls": [URL]})).json()["counts"]
    assert (counts["skipped"], counts["queued"]) == (1, 0)
    (api.parts.settings.media_dir / "one.mp4").unlink()
    counts = (await api.client.post("/api/jobs", json={"urls": [URL]})).json()["counts"]
    assert (counts["skipped"], counts["queued"]) == (0, 1)


async def test_a_video_is_removed_with_or_without_its_files(api: Api) -> None:
    for name, files in (("kept", False), ("gone", True)):
        job = await api.submit(url=f"https://example.org/{name}")
        await _publish(api, job.id, path=f"{name}.mp4")
        (video,) = (await api.client.get("/api/videos")).json()["items"]
        answer = await api.client.delete(f"/api/videos/{video['id']}", params={"files": files})
        assert answer.status_code == 204
        assert (api.parts.settings.media_dir / f"{name}.mp4").exists() is not files
        assert (await api.client.get(f"/api/videos/{video['id']}")).status_code == 404
        assert (await api.library.jobs.get(job.id)).state is State.COMPLETED
    assert (await api.client.delete("/api/videos/v-none")).status_code == 404


async def test_nothing_outside_the_media_folder_is_deleted(api: Api) -> None:
    secret = api.parts.settings.data_dir / "secret.mp4"
    secret.write_bytes(b"secret")
    job = await api.submit()
    await _publish(api, job.id)
    media = api.parts.settings.media_dir
    (media / "one.mp4").unlink()
    (media / "one.mp4").symlink_to(secret)
    (video,) = (await api.client.get("/api/videos")).json()["items"]
    assert (await api.client.delete(f"/api/videos/{video['id']}", params={"files": True})).status_code == 204
    assert secret.exists() and not (media / "one.mp4").is_symlink()
    job = await api.submit(url="https://example.org/two")
    (media / "talks").mkdir()
    await _publish(api, job.id, path="talks/secret.mp4")
    (media / "talks" / "secret.mp4").unlink()
    (media / "talks").rmdir()
    (media / "talks").symlink_to(api.parts.settings.data_dir)
    (video,) = (await api.client.get("/api/videos")).json()["items"]
    assert (await api.client.delete(f"/api/videos/{video['id']}", params={"files": True})).status_code == 409
    assert secret.exists()


async def test_several_videos_are_one_list_and_unknown_ones_are_named(api: Api) -> None:
    first, second = await _want(api), await _want(api, url="https://example.org/two")
    ids = [second["id"], first["id"]]
    refused = await api.client.post("/api/videos/bulk/download", json={"video_ids": [*ids, "v-none", "v-\u202e"]})
    assert (refused.status_code, [each["field"] for each in refused.json()["errors"]]) == (
        422,
        ["video_ids.2", "video_ids.3"],
    )
    assert "'v-none'" in refused.json()["errors"][0]["message"]
    key = {"Idempotency-Key": "k"}
    body = {"video_ids": ids, "preset": "360p"}
    answer = await api.client.post("/api/videos/bulk/download", json=body, headers=key)
    assert (answer.status_code, answer.json()["kind"], answer.json()["counts"]["total"]) == (202, "bulk", 2)
    assert (await api.client.post("/api/videos/bulk/download", json=body, headers=key)).status_code == 200
    items = (await api.client.get("/api/jobs", params={"parent": answer.json()["id"]})).json()["items"]
    assert [item["url"] for item in items] == ["https://example.org/two", URL]
    assert {item["preset"] for item in items} == {"360p"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("", {}, "url"),
        ("", {"url": "ftp://example.org/"}, "url"),
        ("", {"url": "http://127.0.0.1/"}, "url"),
        ("", {"url": URL, "preset": "bset"}, "preset"),
        ("", {"url": URL, "options": {"folder": "../x"}}, "options.folder"),
        ("", {"url": URL, "title": "<script>"}, "title"),
        ("/bulk/download", {"video_ids": []}, "video_ids"),
        ("/bulk/download", {"video_ids": [7]}, "video_ids.0"),
        ("/bulk/download", {"video_ids": "v-1"}, "video_ids"),
        ("/v-1/download", {"preset": "bset"}, "preset"),
    ],
)
async def test_bad_input_is_named(api: Api, path: str, body: dict[str, Any], field: str) -> None:
    answer = await api.client.post(f"/api/videos{path}", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert await api.stored() == 0
    assert (await api.client.get("/api/videos")).json()["items"] == []
