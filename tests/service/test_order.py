"""What a client hears before a kill -9 and after the restart is one story, told forwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
from httpx_sse import connect_sse

from reelin.origin.server import Origin
from tests.service.service import Service

RATE = 300_000


class Listener:
    """A client of `/api/events` that drops what is not newer, and remembers the id of the last event."""

    def __init__(self) -> None:
        self.last_id = 0
        self.versions: dict[str, int] = {}
        self.states: dict[str, str] = {}

    def listen(self, service: Service, enough: Callable[[], bool], *, seconds: float = 90) -> None:
        headers = {"Last-Event-ID": str(self.last_id)} if self.last_id else {}
        deadline = time.monotonic() + seconds
        with (
            httpx.Client(base_url=service.note["url"], timeout=seconds, trust_env=False) as client,
            connect_sse(client, "GET", "/api/events", headers=headers) as source,
        ):
            for event in source.iter_sse():
                assert time.monotonic() < deadline, self.states
                if not event.data:
                    continue  # a ping
                self._take(event.event, int(event.id), json.loads(event.data))
                if enough():
                    return

    def _take(self, kind: str, event_id: int, data: dict[str, Any]) -> None:
        assert event_id >= self.last_id, "the id of an older event than the client has seen"
        self.last_id = event_id
        if kind == "job":
            assert data["version"] >= self.versions.get(data["id"], 0), "an older version than the client has seen"
            self.versions[data["id"]], self.states[data["id"]] = data["version"], data["state"]


def test_events_after_a_kill_begin_with_nothing_older_than_the_client_has_seen(
    new_service: Callable[..., Service], origin: Origin
) -> None:
    service = new_service().start()
    listener = Listener()
    jobs = [service.submit(origin.url_for(f"/file/1500000/order-{n}.mp4", rate=RATE)).id for n in range(2)]
    heard: list[int] = []

    def halfway() -> bool:
        heard.append(listener.last_id)
        return len(heard) > 20 and set(listener.states.values()) == {"running"}

    listener.listen(service, halfway)
    service.kill()
    service.start()
    late = service.submit(origin.url_for("/file/100000/late.mp4")).id
    listener.listen(service, lambda: [listener.states.get(each) for each in (*jobs, late)] == ["completed"] * 3)
    assert heard == sorted(heard)
