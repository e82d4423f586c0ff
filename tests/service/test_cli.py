"""The command line against a real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from reelin.origin.server import Origin
from tests.service.service import Service


def _environment(service: Service) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELIN_")}
    return {**kept, "REELIN_DATA_DIR": str(service.data_dir)}


def reelin(service: Service, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "reelin.cli", *arguments],
        env=_environment(service),
        capture_output=True,
        text=True,
        timeout=60,
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
    output, _ = watching.communicate(timeout=20)
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
    output, _ = getting.communicate(timeout=20)
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
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every file right" in done.stdout
    assert list(home.iterdir()) == []
