"""A `reelin up` of the demo's own: started, waited for, stopped; nothing of the user's Reelin is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelin.cli.client import Client
from reelin.cli.endpoint import Endpoint, UpFile, read_up_file
from reelin.cli.problems import NoApi
from reelin.cli.text import clean
from reelin.errors import StartupError

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.05
_LOG_LINES = 5


@contextmanager
def own_service(folder: Path, **settings: str) -> Iterator[UpFile]:
    """Reelin, ready for jobs, with everything that it writes below `folder`. Raises StartupError.

    `settings` are further environment variables.
    """
    data_dir = folder / "data"
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "reelin.cli", "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,  # no .env of the user's is read
            env=_environment(data_dir) | settings,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops this in its own order
        )
    try:
        yield _ready(process, data_dir, log)
    finally:
        _stop(process)


def _environment(data_dir: Path) -> dict[str, str]:
    """The user's own, without what would lead to the user's own Reelin or Temporal."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("REELIN_", "TEMPORAL_"))}
    return kept | {
        "REELIN_DATA_DIR": str(data_dir),
        "REELIN_PORT": "0",
        "REELIN_EGRESS_ALLOW": "127.0.0.0/8",
        "REELIN_UNLIMITED_SITES": "127.0.0.1",
    }


def _ready(process: subprocess.Popen[bytes], data_dir: Path, log: Path) -> UpFile:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartupError(f"`reelin up` ended with {process.returncode}: {_last_lines(log)}")
        up = read_up_file(data_dir)
        if up is not None and _answers(up):
            return up
        time.sleep(_LOOK_SECONDS)
    raise StartupError(f"`reelin up` was not ready after {_START_SECONDS:.0f} s: {_last_lines(log)}")


def _answers(up: UpFile) -> bool:
    try:
        with Client(Endpoint(up.url, "written by the demo's `reelin up`")) as client:
            return client.get("/readyz").is_success
    except NoApi:
        return False


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return clean(" | ".join(lines), limit=1500) or "it said nothing."


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its own session, so its own group
        process.wait()
