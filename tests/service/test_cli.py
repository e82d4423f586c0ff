"""The command line against a real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from reelin.origin.server import Origin
from tests.service.service import Service
from tests.waiting import PATIENCE


def _environment(service: Service) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELIN_")}
    return {**kept, "REELIN_DATA_DIR": str(service.data_dir)}


def reelin(service: Service, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "reelin.cli", *arguments],
        env=_environment(service),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_get_follows_the_download_to_its_file(service: Service, origin: Origin) -> None:
    said = reelin(service, "get", origin.url + "/file/120000/by-hand")
    assert "downloading" in said and "by-hand [by-hand].mp4" in said
    [job] = [json.loads(line) for line in reelin(service, "ls", "--json", "-q", "by-hand").splitlines()]
    assert job["state"] == "completed"
    shown = json.loads(reelin(service, "show", job["id"][:16], "--json"))
    assert shown["result"] == job["result"]
    assert "by-hand" in reelin(service, "videos", "-q", "by-hand")


def test_get_exits_with_1_and_the_remedy_when_a_download_fails(service: Service, origin: Origin) -> None:
    said = reelin(service, "get", origin.url_for("/login", key="cli"), status=1)
    assert "login_required" in said and "cookies" in said


def test_a_playlist_is_previewed_and_some_of_it_run(service: Service, origin: Origin) -> None:
    url = origin.url_for("/feed/4.rss", name="previewed", title="Previewed", size=120_000)
    said = reelin(service, "get", "--preview", url)
    assert "Feed of Previewed: 4 entries" in said and "--positions 1,4" in said
    listed = reelin(service, "ls", "--json", "--kind", "playlist", "--state", "paused")
    [playlist] = [job for job in map(json.loads, listed.splitlines()) if job["url"] == url]
    assert (playlist["state"], playlist["counts"]["total"]) == ("paused", 4)
    reelin(service, "resume", playlist["id"][:17], "--positions", "1,3-3")
    assert "2 done, 2 cancelled" in reelin(service, "watch", playlist["id"])
    items = [json.loads(line) for line in reelin(service, "ls", "--json", "--parent", playlist["id"]).splitlines()]
    assert [(item["position"], item["state"]) for item in items] == [
        (1, "completed"),
        (2, "cancelled"),
        (3, "completed"),
        (4, "cancelled"),
    ]


def test_of_a_list_just_what_failed_is_tried_again(service: Service, origin: Origin, tmp_path: Path) -> None:
    good, dead = origin.url_for("/file/120000/listed"), origin.url_for("/file/120000/mended", fail="404x1")
    feed = origin.url_for("/feed/2.rss", name="within", size=120_000)
    (tmp_path / "list.txt").write_text(f"# mine\n{good}\n{dead}\n\n{good}\nnonsense\n{feed}\n")
    assert "Line 6, 'nonsense'" in reelin(service, "get", "-a", str(tmp_path / "list.txt"), status=1)
    said = reelin(service, "get", "--skip-invalid", "-a", str(tmp_path / "list.txt"), status=1)
    assert "1 line cannot be used" in said and "4/4: 3 done, 1 failed" in said and "not_found" in said
    [retry] = [line for line in said.splitlines() if line.startswith("To try again")]
    batch_id = retry.split()[-1]
    reelin(service, "retry", "--parent", batch_id, "--failure", "not_found")
    assert "4/4: 4 done" in reelin(service, "watch", batch_id)
    assert sum(record.bytes_sent for record in origin.requests(good)) < 2 * 120_000
    shown = reelin(service, "show", batch_id)
    assert "4/4: 4 done" in shown


def test_a_list_is_over_as_soon_as_a_playlist_in_it_is(service: Service, origin: Origin) -> None:
    feed = origin.url_for("/feed/2.rss", name="last", size=120_000)
    lines = reelin(service, "get", "--json", feed, origin.url_for("/file/120000/first")).splitlines()
    jobs = {job["kind"]: job for job in map(json.loads, lines)}
    bulk, playlist = (datetime.fromisoformat(jobs[kind]["finished_at"]) for kind in ("bulk", "playlist"))
    assert (bulk - playlist).total_seconds() < 15  # a batch that is not told looks after 30 s


def test_info_shows_the_formats(service: Service, origin: Origin) -> None:
    said = reelin(service, "info", origin.url + "/hls/plain/master.m3u8")
    assert "640×360" in said


def test_a_running_job_is_watched_and_cancelled(service: Service, origin: Origin) -> None:
    job = service.submit(origin.url_for("/file/6000000/cli-cancelled", rate=300_000))
    service.wait_until(job.id, percent=2)
    watching = subprocess.Popen(
        [sys.executable, "-m", "reelin.cli", "watch", job.id],
        env=_environment(service),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert watching.stdout is not None
    assert any("downloading" in line for line in watching.stdout), "it ended without showing the download"
    reelin(service, "cancel", job.id)
    output, _ = watching.communicate(timeout=PATIENCE)
    assert "cancelled" in output
    assert service.job(job.id).state == "cancelled"


def test_ctrl_c_stops_watching_and_not_the_download(service: Service, origin: Origin) -> None:
    url = origin.url_for("/file/1500000/goes-on", rate=500_000)
    getting = subprocess.Popen(
        [sys.executable, "-m", "reelin.cli", "get", url],
        env=_environment(service),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert getting.stdout is not None
    for line in getting.stdout:
        if "downloading" in line:
            break
    getting.send_signal(signal.SIGINT)
    output, _ = getting.communicate(timeout=PATIENCE)
    assert getting.returncode == 130
    assert "reelin watch" in output
    [job] = service.api.get("/api/jobs", params={"q": "goes-on"}).json()["items"]
    assert service.wait(job["id"]).state == "completed"


def test_doctor_finds_everything_in_place(service: Service) -> None:
    findings = [json.loads(line) for line in reelin(service, "doctor", "--json").splitlines()]
    flat = findings[0] if len(findings) == 1 and isinstance(findings[0], list) else findings
    assert {finding["check"] for finding in flat} >= {"ffmpeg", "temporal", "ready"}
    assert not [finding for finding in flat if finding["verdict"] == "bad"]


@pytest.mark.timeout(120)
def test_the_demo_checks_every_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-m", "reelin.cli", "demo"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every file right" in done.stdout
    for part in ("7/7: 6 done, 1 failed", "not_found", "Check the URL", "reelin retry bulk-", "7/7: 7 done"):
        assert part in done.stdout
    assert list(home.iterdir()) == []
