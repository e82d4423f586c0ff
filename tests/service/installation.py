"""`reelin serve` and `reelin worker` in processes of their own, on a Temporal that runs elsewhere."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx

from reelin.embedded.ports import choose_port
from tests.service.service import Service


class Installation(Service):
    """A database and a media folder of its own, and a namespace that others may use too."""

    def __init__(self, folder: Path, temporal: str, **environment: str) -> None:
        self._port = choose_port(0).number
        super().__init__(folder, TEMPORAL_ADDRESS=temporal, REELIN_PORT=str(self._port), **environment)
        self._parts: list[subprocess.Popen[bytes]] = []

    def start(self, *, within: float = 60) -> Installation:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        for command in ("serve", "worker"):
            with self.log.open("ab") as output:
                self._parts.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "reelin.cli", command],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        env=self._environment,
                        start_new_session=True,
                    )
                )
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=90)
        deadline = time.monotonic() + within
        while not self.is_ready():
            assert all(part.poll() is None for part in self._parts), self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)
        return self

    def is_ready(self) -> bool:
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self.api.close()
        for part in self._parts:
            part.terminate()
        for part in self._parts:
            part.wait(20)
