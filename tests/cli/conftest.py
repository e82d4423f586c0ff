from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reelin.cli.client import Client
from reelin.cli.endpoint import Endpoint
from reelin.cli.program import run
from tests.cli.api import Api, Server

#: What programs look at to find out what a terminal can do.
_TERMINAL = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Reelin of whoever runs the tests is found, none of their settings, and nothing of their terminal."""
    for name in list(os.environ):
        if name.startswith("REELIN_") or name in _TERMINAL:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("REELIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.stop()


@pytest.fixture
def api(server: Server) -> Api:
    server.api = Api(server.url)
    return server.api


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(Endpoint(api.url, "a test")) as opened:
        yield opened


@pytest.fixture
def reelin(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command against `api` and returns its exit code."""
    monkeypatch.setenv("REELIN_URL", api.url)
    return lambda *arguments: run(list(arguments))
