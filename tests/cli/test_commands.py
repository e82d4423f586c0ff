from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import JSONResponse

from reelin.contracts.jobs import Kind, State
from tests.cli.api import END, HOLD, READY, Api, a_job, completed, event, failed, problem, running
from tests.waiting import PATIENCE

Reelin = Callable[..., int]
Captured = pytest.CaptureFixture[str]
ONE, TWO = a_job(1), a_job(2)


def stream(api: Api, *jobs: Any) -> None:
    api.streams[f"/api/jobs/{jobs[0].id}/events"] = [[*(event(job) for job in jobs), END]]


def test_get_exits_with_0_when_every_download_is_completed(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE)
    stream(api, running(ONE, 50, 2), completed(ONE))
    assert reelin("get", "https://example.org/1") == 0
    assert "✓ A clip\n    clip [1].mp4  1.1 MB\n" in capsys.readouterr().out


def test_get_exits_with_1_and_says_why_and_what_to_do(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE)
    stream(api, failed(ONE))
    assert reelin("get", "https://example.org/1") == 1
    shown = capsys.readouterr().out
    assert "not_found: The site says 404." in shown
    assert "Check the URL." in shown


def test_get_sends_the_options_that_were_given(api: Api, reelin: Reelin) -> None:
    api.add(completed(ONE))
    shape = ["--preset", "720p", "--folder", "a/b", "--filename", "{title}", "--format", "b", "--container", "mp4"]
    pairs = ["--option", 'subtitles={"languages": ["en"]}', "--option", "cookies=work", "--option", "folder=loses"]
    assert reelin("get", *shape, *pairs, "--priority", "1", "--force", "https://example.org/1") == 0
    assert api.bodies == [
        {
            "url": "https://example.org/1",
            "preset": "720p",
            "options": {
                "subtitles": {"languages": ["en"]},
                "cookies": "work",
                "folder": "a/b",
                "filename": "{title}",
                "format": "b",
                "container": "mp4",
            },
            "priority": 1,
            "force": True,
        }
    ]


def test_a_url_that_is_refused_is_told_with_its_remedy(api: Api, reelin: Reelin, capsys: Captured) -> None:
    assert reelin("get", "nonsense") == 1
    assert capsys.readouterr().err == "url: The URL names no host. Give a complete address.\n"


def test_get_without_waiting_only_submits(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE)
    assert reelin("get", "--no-wait", "https://example.org/1") == 0
    assert capsys.readouterr().out == "queued  video-00000001  https://example.org/1\n"


def test_ctrl_c_ends_the_watching_and_says_that_the_download_goes_on(api: Api) -> None:
    api.add(ONE)
    api.streams[f"/api/jobs/{ONE.id}/events"] = [[event(running(ONE, 50, 2)), HOLD]]
    command = [sys.executable, "-m", "reelin.cli", "get", "https://example.org/1", "--url", api.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and any("downloading" in line for line in process.stdout)
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert error.splitlines() == [
        "The download goes on.",
        "Watch: reelin watch video-00000001   Cancel: reelin cancel video-00000001",
    ]


def test_info_prints_metadata_and_formats(api: Api, reelin: Reelin, capsys: Captured) -> None:
    metadata = {"url": "https://example.org/1", "title": "A [b]clip[/b]", "extractor": "generic", "extractor_id": "1"}
    formats = [{"format_id": "hls-720", "ext": "mp4", "width": 1280, "height": 720, "video_codec": "avc1"}]
    result = {**metadata, "duration_seconds": 75, "formats": formats}
    api.add(a_job(1, kind=Kind.INFO, state=State.COMPLETED, result=result))
    assert reelin("info", "https://example.org/1") == 0
    shown = capsys.readouterr().out
    for part in ("A [b]clip[/b]", "1:15", "hls-720", "1280×720", "avc1"):
        assert part in shown
    assert api.bodies == [{"url": "https://example.org/1", "kind": "info", "force": True}]


def test_info_of_a_page_without_video_exits_with_1(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(failed(ONE))
    assert reelin("info", "https://example.org/1") == 1
    assert "not_found" in capsys.readouterr().err


def test_ls_prints_a_table_and_passes_the_filters_on(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(failed(ONE), completed(TWO))
    filters = ["--kind", "video", "--site", "example.org", "--failure", "not_found", "-q", "clip"]
    assert reelin("ls", "--state", "failed", "--state", "completed", *filters) == 0
    shown = capsys.readouterr().out
    assert ONE.id in shown
    assert "failed: not_found" in shown
    assert api.requests[0].query_params.multi_items() == [
        ("kind", "video"),
        ("site", "example.org"),
        ("failure", "not_found"),
        ("q", "clip"),
        ("state", "failed"),
        ("state", "completed"),
        ("limit", "50"),
    ]


def test_ls_as_json_prints_a_job_a_line_in_plain_ascii(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(a_job(1, title="\x9b31m\u202eünï"), TWO)
    assert reelin("ls", "--json", "--all") == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert [json.loads(line)["title"] for line in shown.splitlines()] == ["\x9b31m\u202eünï", None]


def test_show_takes_the_beginning_of_an_id(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(completed(ONE), TWO)
    for wanted in (ONE.id, "video-00000001", "00000001"):
        assert reelin("show", "--json", wanted) == 0
        assert json.loads(capsys.readouterr().out)["id"] == ONE.id


def test_an_ambiguous_beginning_is_refused(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE, TWO)
    assert reelin("show", "video-0000") == 1
    assert "2 jobs begin with 'video-0000': video-00000001, video-00000002." in capsys.readouterr().err


def test_an_unknown_job_is_told_by_the_api(api: Api, reelin: Reelin, capsys: Captured) -> None:
    assert reelin("show", "video-" + "f" * 24) == 1
    assert "There is no jobs/video-" in capsys.readouterr().err
    assert api.asked("GET", "/api/jobs") == []


def test_cancel_goes_on_after_a_refusal_and_exits_with_1(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE, TWO)
    api.answers[f"POST /api/jobs/{ONE.id}/cancel"] = problem(409, "The job is completed.")
    assert reelin("cancel", "--keep-partial", ONE.id, TWO.id) == 1
    shown = capsys.readouterr()
    assert shown.err == f"✗ {ONE.id}: The job is completed.\n"
    assert shown.out == "video-00000002  cancelled  https://example.org/2\n"
    assert api.bodies == [{"keep_partial": True}] * 2


def test_retry_queues_again(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(failed(ONE))
    assert reelin("retry", ONE.id) == 0
    assert capsys.readouterr().out == "video-00000001  queued  https://example.org/1\n"


def test_watch_without_an_id_watches_all_that_is_not_finished(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE)
    api.streams["/api/events"] = [[event(ONE), READY, event(TWO), event(completed(ONE)), event(completed(TWO)), HOLD]]
    assert reelin("watch", "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert api.requests[0].query_params.getlist("state") == ["queued", "running", "waiting"]


def test_watch_with_nothing_to_watch_says_so(reelin: Reelin, capsys: Captured) -> None:
    assert reelin("watch") == 0
    assert capsys.readouterr().out == "Nothing is running.\n"


def test_sites_lists_limits_and_who_waits(api: Api, reelin: Reelin, capsys: Captured) -> None:
    site = {"site": "example.org", "max_at_once": 4, "requests_per_hour": None, "in_use": 4, "waiting": 46}
    body = {"items": [site | {"cooldown_until": None, "reason": "rate_limited"}], "next_cursor": None}
    api.answers["GET /api/sites"] = JSONResponse(body)
    assert reelin("sites") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("example.org", "no limit", "46", "rate_limited"))


def test_sites_sets_what_was_given_and_nothing_else(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.answers["PATCH /api/sites/example.org"] = JSONResponse({"site": "example.org", "max_at_once": 2})
    assert reelin("sites", "example.org", "--at-once", "2") == 0
    assert reelin("sites", "example.org", "--per-hour", "none", "--json") == 0
    assert reelin("sites", "example.org", "--at-once", "none", "--json") == 0
    assert reelin("sites", "example.org", "--at-once", "default", "--json") == 0
    wanted = [{"max_at_once": 2}, {"requests_per_hour": None}, {"max_at_once": None}, {"max_at_once": "default"}]
    assert api.bodies == wanted
    assert '"max_at_once":2' in capsys.readouterr().out.replace(" ", "")


def test_sites_says_what_is_missing(reelin: Reelin, capsys: Captured) -> None:
    assert reelin("sites", "--at-once", "2") == 2
    assert reelin("sites", "example.org", "--per-hour", "many") == 2
    assert "--per-hour" in capsys.readouterr().err


def test_videos_lists_files(api: Api, reelin: Reelin, capsys: Captured) -> None:
    file = {"id": "f", "path": "shows/clip.mp4", "size_bytes": 1000, "sha256": "0", "url": "/f"}
    api.videos = [{"id": "v", "title": "A clip", "uploader": "Someone", "state": "downloaded", "files": [file]}]
    assert reelin("videos", "-q", "clip") == 0
    shown = capsys.readouterr().out
    assert "shows/clip.mp4" in shown
    assert "1.0 kB" in shown
    assert api.requests[0].query_params["q"] == "clip"
