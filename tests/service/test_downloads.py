"""Every kind of media that the origin serves, through the API, compared with its source."""

from __future__ import annotations

import hashlib
from pathlib import Path

import imageio_ffmpeg
import psutil
import pytest
import yt_dlp

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.origin.server import Origin
from tests.service.service import Service
from tests.waiting import PATIENCE, promised, slowdown, until

STREAMS = ["/hls/plain/master.m3u8", "/hls/aes/master.m3u8", "/hls/av/master.m3u8", "/dash/manifest.mpd"]


def undisturbed(url: str, folder: Path) -> bytes:
    """What yt-dlp makes of it when nothing goes wrong."""
    parameters = {
        "quiet": True,
        "noprogress": True,
        "format": "bv*+ba/b",
        "outtmpl": str(folder / "reference.%(ext)s"),
        "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
        "fixup": "force",
    }
    with yt_dlp.YoutubeDL(parameters) as downloader:
        info = downloader.extract_info(url)
    return Path(info["requested_downloads"][0]["filepath"]).read_bytes()


@pytest.mark.parametrize("path", ["/clip.mp4", "/file/300000/direct"])
def test_a_direct_file_arrives_byte_for_byte(service: Service, origin: Origin, path: str) -> None:
    job = service.wait(service.submit(origin.url + path).id)
    assert job.state is State.COMPLETED, job.failure
    assert job.kind is Kind.VIDEO
    assert service.path_of(job).read_bytes() == origin.reference(path)


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_is_what_an_undisturbed_download_makes(
    service: Service, origin: Origin, path: str, tmp_path: Path
) -> None:
    job = service.wait(service.submit(origin.url + path).id)
    assert job.state is State.COMPLETED, job.failure
    assert service.path_of(job).read_bytes() == undisturbed(origin.url + path, tmp_path)


def test_a_page_gives_its_metadata_to_the_library(service: Service, origin: Origin) -> None:
    title = '<script>alert("x")</script> ../../etc/passwd'
    job = service.wait(service.submit(origin.url_for("/page/film", title=title, uploader="A. Uploader")).id)
    assert job.state is State.COMPLETED, job.failure
    assert job.title == title
    assert job.result is not None
    video = service.api.get(f"/api/videos/{job.result['video_id']}").raise_for_status().json()
    assert (video["title"], video["uploader"], video["state"]) == (title, "A. Uploader", "downloaded")
    assert service.path_of(job).parent == service.media_dir
    assert service.path_of(job).read_bytes() == origin.reference("/clip.mp4")


def test_the_api_serves_the_file_that_the_result_describes(service: Service, origin: Origin) -> None:
    job = service.wait(service.submit(origin.url + "/clip.mp4").id)
    assert job.result is not None
    [file] = job.result["files"]
    whole = service.api.get(file["url"]).raise_for_status().content
    assert (len(whole), hashlib.sha256(whole).hexdigest()) == (file["size_bytes"], file["sha256"])
    part = service.api.get(file["url"], headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, whole[1000:2000])


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/plain", FailureKind.UNSUPPORTED_URL),
        ("/status/404", FailureKind.NOT_FOUND),
        ("/login", FailureKind.LOGIN_REQUIRED),
    ],
)
def test_a_url_without_a_video_fails_with_its_kind_and_remedy(
    service: Service, origin: Origin, path: str, kind: FailureKind
) -> None:
    job = service.wait(service.submit(origin.url + path).id)
    assert job.state is State.FAILED
    assert job.failure is not None
    assert job.failure.kind == kind, job.failure
    assert job.failure.remedy and "Traceback" not in job.failure.message
    assert job.attempt == 1


def test_a_passing_error_of_the_site_is_waited_out(service: Service, origin: Origin) -> None:
    url = origin.url_for("/file/100000/passing", fail="503x1")
    job = service.wait(service.submit(url).id)
    assert job.state is State.COMPLETED, job.failure
    assert job.failure is None


def test_a_file_shorter_than_announced_is_fetched_once_more_and_never_published(
    service: Service, origin: Origin
) -> None:
    job = service.wait(service.submit(origin.url_for("/page/short", duration="20", seg_key="short")).id)
    assert job.state is State.FAILED
    assert job.failure is not None
    assert job.failure.kind is FailureKind.RESUME_CONFLICT
    assert "5.3 s long, but 20.0 s were announced" in job.failure.message
    assert job.attempt == 2
    whole = [record for record in origin.log if "key=short" in record.query and record.path == "/clip.mp4"]
    assert len([record for record in whole if record.bytes_sent == len(origin.reference("/clip.mp4"))]) >= 2
    assert job.result is None


def test_media_addresses_that_have_expired_are_asked_for_afresh(
    service: Service, origin: Origin, tmp_path: Path
) -> None:
    """Every fragment is refused once. With a thread for each, and answers that take a while, all are asked for in
    the first attempt, before it is known that one is lost."""
    path = "/hls/plain/master.m3u8"
    url = origin.url_for(path, seg_fail="403x1", seg_latency_ms=700, seg_key="expired", key="expired")
    job = service.wait(service.submit(url, options={"concurrent_fragments": 16}).id)
    assert job.state is State.COMPLETED, job.failure
    assert 2 <= job.attempt <= 4
    assert service.path_of(job).read_bytes() == undisturbed(origin.url + path, tmp_path)
    asked = [record for record in origin.log if "expired" in record.query]
    fragments = [record.status for record in asked if record.path.endswith(".ts")]
    assert sorted(fragments) == [200] * 15 + [403] * 15
    refused = max(record.started_at for record in asked if record.status == 403)
    assert [record for record in asked if record.path == path and record.started_at > refused], "extracted afresh"


def test_two_submissions_of_one_url_are_one_job(service: Service, origin: Origin) -> None:
    url = origin.url_for("/file/200000/twice", rate=200_000)
    first = service.api.post("/api/jobs", json={"url": url})
    second = service.api.post("/api/jobs", json={"url": url + "#t=5"})
    other = service.api.post("/api/jobs", json={"url": url, "preset": "720p"})
    assert (first.status_code, second.status_code, other.status_code) == (202, 200, 202)
    assert first.json()["id"] == second.json()["id"] != other.json()["id"]
    job = service.wait(first.json()["id"])
    assert job.state is State.COMPLETED
    assert service.api.post("/api/jobs", json={"url": url}).status_code == 200
    service.wait(other.json()["id"])


def test_a_failed_job_can_be_retried(service: Service, origin: Origin) -> None:
    url = origin.url_for("/file/100000/retried", fail="404x1")
    job = service.wait(service.submit(url).id)
    assert job.state is State.FAILED
    answer = service.api.post(f"/api/jobs/{job.id}/retry")
    assert answer.status_code == 202
    assert service.wait(job.id).state is State.COMPLETED


def test_force_downloads_again_and_leaves_one_file(service: Service, origin: Origin) -> None:
    url = origin.url + "/file/150000/forced"
    first = service.wait(service.submit(url).id)
    again = service.submit(url, force=True)
    assert again.state is not State.COMPLETED
    second = service.wait(first.id)
    assert second.state is State.COMPLETED
    assert service.path_of(second) == service.path_of(first)
    assert len(list(service.media_dir.glob("forced [[]*"))) == 1


def test_two_videos_with_one_title_are_two_files(service: Service, origin: Origin) -> None:
    urls = [origin.url_for(f"/page/{name}", title="One title", media=f"/file/100000/{name}") for name in "ab"]
    jobs = [service.wait(service.submit(url, options={"filename": "{title}"}).id) for url in urls]
    assert [job.state for job in jobs] == [State.COMPLETED] * 2
    assert sorted(service.path_of(job).name for job in jobs) == ["One title (2).mp4", "One title.mp4"]
    for job, name in zip(jobs, "ab", strict=True):
        assert service.path_of(job).read_bytes() == origin.reference(f"/file/100000/{name}")


def test_an_info_job_answers_with_metadata_and_formats(service: Service, origin: Origin) -> None:
    job = service.wait(service.submit(origin.url + "/dash/manifest.mpd", kind="info").id)
    assert job.state is State.COMPLETED, job.failure
    assert job.result is not None
    assert len(job.result["formats"]) >= 3
    assert not list(service.media_dir.glob("*info*"))


def test_cancel_frees_the_process_tree_within_half_a_second(service: Service, origin: Origin) -> None:
    job = service.submit(origin.url_for("/file/5000000/cancelled", rate=300_000))
    service.wait_until(job.id, percent=5)
    processes = service.processes_of(job.id)
    assert processes
    with promised(0.5):
        assert service.api.post(f"/api/jobs/{job.id}/cancel", json={}).status_code == 202
        _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert not alive
    ended = service.wait(job.id)
    assert ended.state is State.CANCELLED
    until(lambda: not (service.media_dir / ".reelin-scratch" / job.id).exists())


def test_a_deleted_job_ends_and_is_forgotten(service: Service, origin: Origin) -> None:
    job = service.submit(origin.url_for("/file/5000000/deleted", rate=300_000))
    service.wait_until(job.id, percent=2)
    processes = service.processes_of(job.id)
    assert service.api.delete(f"/api/jobs/{job.id}").status_code == 204
    assert service.api.get(f"/api/jobs/{job.id}").status_code == 404
    _, alive = psutil.wait_procs(processes, timeout=2 * slowdown())
    assert not alive


def test_a_job_that_is_deleted_and_submitted_again_downloads(service: Service, origin: Origin) -> None:
    url = origin.url_for("/file/1500000/deleted-and-back", rate=700_000)
    job = service.submit(url)
    service.wait_until(job.id, percent=2)
    assert service.api.delete(f"/api/jobs/{job.id}").status_code == 204
    assert service.submit(url).id == job.id
    assert service.wait(job.id).state is State.COMPLETED
    assert service.path_of(service.job(job.id)).read_bytes() == origin.reference("/file/1500000/deleted-and-back")
