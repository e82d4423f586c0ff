"""The server in a process of its own, for benchmarks and kill tests: it has its own interpreter lock."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from reelin.origin.any_origin import AnyOrigin
from reelin.origin.log import RequestRecord

_STOP_SECONDS = 5


class OriginProcess(AnyOrigin):
    """Runs `python -m reelin.origin`, which ends with this process at the latest."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder, port=port)
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self.pid = 0

    @property
    def url(self) -> str:
        return self._url

    @property
    def log(self) -> list[RequestRecord]:
        return [RequestRecord(**record) for record in json.loads(self._ask("GET"))]

    def clear_log(self) -> None:
        self._ask("DELETE")

    def start(self) -> None:
        command = [sys.executable, "-m", "reelin.origin", "--port", str(self._asked_port)]
        command += ["--folder", str(self._folder), "--until-stdin-closes"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the origin did not start")
        ready = json.loads(line)
        self._url, self.pid = ready["url"], ready["pid"]

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def _ask(self, method: str) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=30)
        try:
            connection.request(method, "/_log")
            return connection.getresponse().read()
        finally:
            connection.close()
