from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from reelin.cli import checks
from reelin.cli.checks import Verdict
from reelin.cli.endpoint import Endpoint
from reelin.cli.program import run
from reelin.engine import landlock as kernel
from reelin.settings import load_settings
from tests.cli.api import Api


def test_a_folder_that_does_not_exist_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    finding = checks.folder("media folder", tmp_path / "a" / "b")
    assert finding.verdict is Verdict.GOOD
    assert "made at the first start" in finding.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_bad() -> None:
    finding = checks.folder("media folder", Path("/proc/nothing"))
    assert finding.verdict is Verdict.BAD
    assert finding.remedy


def test_the_limit_of_open_files_is_said_with_what_it_is_enough_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.resource, "getrlimit", lambda _what: (256, 400))
    finding = checks.open_files(16)
    assert finding.verdict is Verdict.NOTE and "400" in finding.text and "176 clients" in finding.text
    monkeypatch.setattr(checks.resource, "getrlimit", lambda _what: (1024, 1_048_576))
    assert checks.open_files(16).verdict is Verdict.GOOD


def test_a_disk_on_which_downloads_would_wait_is_worth_a_note(tmp_path: Path) -> None:
    assert checks.free_disk(tmp_path, 0).verdict is Verdict.GOOD
    finding = checks.free_disk(tmp_path, 10**18)
    assert finding.verdict is Verdict.NOTE
    assert "REELIN_MIN_FREE_BYTES" in finding.remedy


def test_an_old_yt_dlp_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "version", lambda _name: "2025.12.31")
    assert checks.yt_dlp().verdict is Verdict.BAD
    monkeypatch.setattr(checks, "version", lambda _name: "2026.7.4")
    assert checks.yt_dlp().verdict is Verdict.GOOD


@pytest.mark.parametrize(
    ("version", "works", "said"),
    [
        (7, True, "in force for each download: files, TCP, signals (Landlock 7)"),
        (3, True, "in force for each download: files (Landlock 3)"),
        (1, True, "off: the kernel has version 1"),
        (7, False, "off: the kernel has version 7"),
        (0, False, "off: this kernel or container lacks it"),
    ],
)
def test_the_sandbox_is_called_in_force_only_where_it_is(
    version: int, works: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "abi", lambda: version)
    monkeypatch.setattr(kernel, "in_force", lambda: works)
    finding = checks.landlock()
    assert finding.text == said
    assert (finding.verdict is Verdict.GOOD) == said.startswith("in force")


def test_a_program_that_does_not_run_is_bad(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    assert checks._runs("broken", program, "--version", "Mend it.").remedy == "Mend it."


def test_a_port_that_another_program_has_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0)
        monkeypatch.setenv("REELIN_PORT", str(taken.getsockname()[1]))
        monkeypatch.setattr(checks, "_is_reelin", lambda _endpoint: False)
        findings = list(checks.service(load_settings()))
    assert [finding.verdict for finding in findings] == [Verdict.BAD]


def test_the_default_port_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_free", lambda _host, _port: False)
    monkeypatch.setattr(checks, "_is_reelin", lambda _endpoint: False)
    assert [finding.verdict for finding in checks.service(load_settings())] == [Verdict.NOTE]


def test_reelin_on_the_port_is_good_and_its_reasons_are_shown(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELIN_PORT", api.url.rpartition(":")[2])
    api.answers["GET /healthz"] = JSONResponse({"status": "ok"})
    api.answers["GET /readyz"] = JSONResponse(
        {"ok": False, "database": {"ok": True}, "temporal": {"ok": False, "reason": "It does not answer."}}, 503
    )
    findings = list(checks.service(load_settings()))
    assert [finding.verdict for finding in findings] == [Verdict.GOOD, Verdict.BAD]
    assert findings[1].text == "not yet: temporal (It does not answer.)"


def test_an_up_that_runs_is_found_by_its_file(api: Api, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "up.json").write_text(json.dumps({"url": api.url, "pid": os.getpid()}))
    api.answers["GET /readyz"] = JSONResponse({"ok": True, "database": {"ok": True}, "worker": {"ok": True}})
    findings = list(checks.service(load_settings()))
    assert [finding.verdict for finding in findings] == [Verdict.GOOD, Verdict.GOOD]
    assert findings[1].text == "database, worker answer"


def test_a_service_that_does_not_answer_is_bad() -> None:
    assert checks.ready(Endpoint("http://127.0.0.1:9", "a test")).verdict is Verdict.BAD


@pytest.mark.parametrize(("setting", "code"), [("REELIN_LOG_LEVEL", 0), ("REELIN_LOGLEVEL", 1)])
def test_doctor_exits_with_1_if_something_must_be_repaired(
    setting: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_programs(monkeypatch)
    monkeypatch.setenv(setting, "info")
    monkeypatch.setenv("REELIN_PORT", "0")
    assert run(["doctor", "--json"]) == code
    findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ("bad" in {finding["verdict"] for finding in findings}) == bool(code)


def _without_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting three programs takes a second; they have tests of their own."""
    for name in ("ffmpeg", "deno", "temporal"):
        check: Callable[[], checks.Finding] = lambda name=name: checks.good(name, "there")  # noqa: E731
        monkeypatch.setattr(checks, name, check)


def test_the_disk_of_the_databases_is_looked_at_where_it_is_another_one(
    tmp_path: Path, mounted: Callable[[str], Path]
) -> None:
    assert "the media folder's" in checks.data_disk(tmp_path, tmp_path / "media", 10**18).text
    other = mounted("4m")
    assert checks.data_disk(other, tmp_path, 0).verdict is Verdict.GOOD
    finding = checks.data_disk(other, tmp_path, 10**18)
    assert (finding.verdict, "Free some space" in finding.remedy) == (Verdict.BAD, True)


@pytest.mark.parametrize(
    ("url", "folders"),
    [("", ["."]), ("sqlite:////srv/films/reelin.db", ["/srv/films"]), ("postgresql:///reelin", [])],
)
def test_where_databases_grow_is_known_by_the_settings(tmp_path: Path, url: str, folders: list[str]) -> None:
    chosen = {"database_url": url} if url else {}
    settings = load_settings(data_dir=tmp_path, **chosen)
    assert list(settings.growing_dirs) == [tmp_path / folder for folder in folders]
    (tmp_path / "temporal").mkdir()
    assert list(settings.growing_dirs) == [*(tmp_path / folder for folder in folders), tmp_path / "temporal"]
