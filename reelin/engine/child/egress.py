"""The child's way out: everything that leaves it, and ffmpeg, goes through the worker's guard."""

from __future__ import annotations

import http.client
import json
import os
import secrets
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from reelin.contracts.failures import FailureKind
from reelin.engine.environment import proxy_variables
from reelin.engine.wire import GuardAddress
from reelin.errors import MediaFailure

_ASK_SECONDS = 2.0
#: What is left of a refusal where ffmpeg met it: "ffmpeg exited with code 8".
_SAYS_LITTLE = frozenset({FailureKind.INTERNAL, FailureKind.PROCESSING})

#: ffmpeg opens whatever a playlist names. `tcp`, `tls` and `httpproxy` are what http and https are made of.
FFMPEG_PROTOCOLS = "http,https,tcp,tls,crypto,httpproxy,data"
#: yt-dlp's own ways round its proxy, as request headers: a site's page must never set one.
_PROXY_HEADERS = ("Ytdl-Request-Proxy", "Ytdl-Socks-Proxy")


class Egress:
    """One task's. The guard knows the task by a name of its own, and remembers what it refused last under that name.

    Without a guard (None) it changes nothing.
    """

    def __init__(self, guard: GuardAddress | None) -> None:
        self._guard = guard
        self._name = secrets.token_hex(8)

    def parameters(self) -> dict[str, Any]:
        """For YoutubeDL. The programs that this process starts are told by its environment."""
        if self._guard is None:
            return {}
        proxy = self._guard.url(self._name)
        os.environ.update(proxy_variables(proxy))
        return {"proxy": proxy}

    def explain(self, failure: MediaFailure) -> MediaFailure:
        """The failure with the host's name, and by its real name where ffmpeg kept that to itself."""
        if FailureKind(failure.kind) not in _SAYS_LITTLE | {FailureKind.BLOCKED_ADDRESS, FailureKind.DNS}:
            return failure
        refusal = self._refusal()
        if refusal is None or failure.kind not in _SAYS_LITTLE | {refusal.kind}:
            return failure
        refusal.detail = failure.detail
        return refusal

    def forget(self) -> None:
        """What was refused so far: a thumbnail's address, for example, which does not matter."""
        self._ask()

    def raise_refusal(self) -> None:
        """ffmpeg skips a fragment that it does not get, and calls the rest of the stream a success."""
        refusal = self._refusal()
        if refusal is not None:
            raise refusal

    def _refusal(self) -> MediaFailure | None:
        answer = self._ask()
        host = str(answer.get("host"))[:255]
        if answer.get("kind") == FailureKind.BLOCKED_ADDRESS:
            return MediaFailure(
                FailureKind.BLOCKED_ADDRESS, f"{host} is or leads to a private or reserved address, which is blocked."
            )
        if answer.get("kind") == FailureKind.DNS:
            return MediaFailure(FailureKind.DNS, f"The name {host} could not be resolved.")
        return None

    def _ask(self) -> Mapping[str, Any]:
        if self._guard is None:
            return {}
        credentials = b64encode(f"{self._name}:{self._guard.token}".encode()).decode()
        connection = http.client.HTTPConnection(self._guard.address, timeout=_ASK_SECONDS)
        try:
            connection.request("GET", "/refusal", headers={"Proxy-Authorization": f"Basic {credentials}"})
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return {}  # It is just being started again: then the failure stays as it was told.
        finally:
            connection.close()
        return answer if isinstance(answer, dict) else {}


def without_proxy_headers(headers: Any) -> None:
    for name in _PROXY_HEADERS:
        headers.pop(name, None)
