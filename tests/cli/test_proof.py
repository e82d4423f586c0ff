"""The demo must notice when a file is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import reelin.origin
from reelin.cli.client import Client
from reelin.cli.demo.proof import Source, Wrong, prove
from reelin.contracts.jobs import Job, State
from reelin.engine.programs import find_ffmpeg
from tests.cli.api import Api, a_job

CLIP = (Path(reelin.origin.__file__).parent / "media" / "bigbuckbunny.mp4").read_bytes()
CLIP_SECONDS = 5.3


@pytest.fixture
def job(api: Api, tmp_path: Path) -> Job:
    (tmp_path / "clip.mp4").write_bytes(CLIP)
    api.files["/api/videos/v/files/f"] = CLIP
    sha256 = hashlib.sha256(CLIP).hexdigest()
    file = {"id": "f", "path": "clip.mp4", "size_bytes": len(CLIP), "sha256": sha256, "url": "/api/videos/v/files/f"}
    return a_job(state=State.COMPLETED, result={"video_id": "v", "files": [file]})


def test_a_right_file_is_told_so(client: Client, job: Job, tmp_path: Path) -> None:
    source = Source("/clip.mp4", content=CLIP)
    assert "byte for byte" in prove(client, job, source, tmp_path, find_ffmpeg())
    source = Source("/hls", duration_seconds=CLIP_SECONDS)
    assert "plays 5.3 s" in prove(client, job, source, tmp_path, find_ffmpeg())


def test_a_file_that_differs_from_its_source_is_wrong(client: Client, job: Job, tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="differs"):
        prove(client, job, Source("/clip.mp4", content=CLIP[:-1]), tmp_path, find_ffmpeg())


def test_a_stream_that_lacks_a_second_is_wrong(client: Client, job: Job, tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="plays"):
        prove(client, job, Source("/hls", duration_seconds=CLIP_SECONDS + 1), tmp_path, find_ffmpeg())


def test_a_file_that_does_not_play_is_wrong(client: Client, job: Job, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"nothing" * 1000)
    with pytest.raises(Wrong, match="cannot be opened"):
        prove(client, job, Source("/hls", duration_seconds=CLIP_SECONDS), tmp_path, find_ffmpeg())


@pytest.mark.parametrize(("served", "word"), [(CLIP[:-1], "bytes"), (CLIP[:-1] + b"?", "checksum")])
def test_a_file_that_is_served_otherwise_than_recorded_is_wrong(
    api: Api, client: Client, job: Job, tmp_path: Path, served: bytes, word: str
) -> None:
    api.files["/api/videos/v/files/f"] = served
    with pytest.raises(Wrong, match=word):
        prove(client, job, Source("/clip.mp4", content=CLIP), tmp_path, find_ffmpeg())


def test_a_job_that_failed_is_wrong(client: Client, tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="the job is failed"):
        prove(client, a_job(state=State.FAILED), Source("/clip.mp4", content=CLIP), tmp_path, find_ffmpeg())
