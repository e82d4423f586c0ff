from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reelin.cli.endpoint import find_endpoint
from reelin.cli.problems import NoApi


def write_up_file(folder: Path, pid: int) -> None:
    folder.mkdir(parents=True)
    (folder / "up.json").write_text(json.dumps({"url": "http://127.0.0.1:7777", "pid": pid, "temporal_ui": "http://x"}))


def test_the_address_that_was_given_wins(tmp_path: Path) -> None:
    write_up_file(tmp_path / "data", os.getpid())
    assert find_endpoint("https://reelin.example/").url == "https://reelin.example"


def test_a_scheme_may_be_left_out() -> None:
    assert find_endpoint("localhost:9000").url == "http://localhost:9000"
    assert find_endpoint("localhost:9000").on_loopback


@pytest.mark.parametrize("text", ["ftp://example.org", "http://", "http://[", "http://example.org:port"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(NoApi, match="is not an address"):
        find_endpoint(text)


def test_a_running_up_is_found_by_its_file(tmp_path: Path) -> None:
    write_up_file(tmp_path / "data", os.getpid())
    assert find_endpoint().url == "http://127.0.0.1:7777"


def test_the_file_of_a_killed_up_does_not_count(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_up_file(tmp_path / "data", ended.pid)
    assert find_endpoint().url == "http://127.0.0.1:8484"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 1}', '{"url": "http://x", "pid": -1}'])
def test_a_damaged_file_does_not_count(tmp_path: Path, content: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "up.json").write_text(content)
    assert find_endpoint().url == "http://127.0.0.1:8484"


def test_host_port_and_token_of_the_settings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELIN_HOST", "0.0.0.0")
    monkeypatch.setenv("REELIN_PORT", "9999")
    monkeypatch.setenv("REELIN_API_TOKEN", "a-secret-token")
    endpoint = find_endpoint()
    assert (endpoint.url, endpoint.token) == ("http://127.0.0.1:9999", "a-secret-token")
