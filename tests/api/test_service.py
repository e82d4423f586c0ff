"""How the service describes itself: health, readiness, metrics, documentation, limits."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reelin.api import health
from reelin.api.limits import MAX_LIST_BYTES
from reelin.contracts.work import DOWNLOAD_QUEUE
from tests.api.service import Api, api_in_memory


async def test_the_process_is_alive(api: Api) -> None:
    answer = await api.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})


async def test_ready_means_every_part_answers(api: Api) -> None:
    answer = await api.client.get("/readyz")
    well = {"ok": True, "reason": None}
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "database": well,
        "temporal": well,
        "worker": well,
        "disk": well,
        "data_disk": well,
        "media": well,
        "degraded": [],
    }


async def test_what_is_missing_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.control.away = True
    api.control.polling = {**api.control.polling, DOWNLOAD_QUEUE: 0}
    await api.library.close()

    async def broken() -> None:
        raise OSError("/secret/place is gone")

    monkeypatch.setattr(api.library, "ping", broken)
    answer = await api.client.get("/readyz")
    said = answer.json()
    assert (answer.status_code, said["ok"]) == (503, False)
    assert "connection refused" in said["temporal"]["reason"]
    assert DOWNLOAD_QUEUE in said["worker"]["reason"]
    assert "log" in said["database"]["reason"] and "secret" not in answer.text


async def test_a_disk_below_the_low_water_mark_is_not_ready(tmp_path: Path) -> None:
    async with api_in_memory(tmp_path, min_free_bytes=2**62) as full:
        answer = await full.client.get("/readyz")
    assert answer.status_code == 503
    assert "free on the disk" in answer.json()["disk"]["reason"]


async def test_a_full_disk_of_the_databases_is_not_ready(tmp_path: Path, mounted: Callable[[str], Path]) -> None:
    small = mounted("8m")
    async with api_in_memory(tmp_path, database_url=f"sqlite:///{small / 'reelin.db'}") as full:
        (small / "fill").write_bytes(b"x" * (shutil.disk_usage(small).free - 100_000))
        said = (await full.client.get("/readyz")).json()
        (small / "fill").unlink()
    assert (said["ok"], said["disk"]["ok"]) == (False, True)
    assert "free on the disk" in said["data_disk"]["reason"]


async def test_a_part_that_hangs_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LONGEST_CHECK_SECONDS", 0.05)

    async def hanging() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(api.control, "check", hanging)
    answer = await api.client.get("/readyz")
    assert (answer.status_code, answer.json()["temporal"]["ok"]) == (503, False)


async def test_metrics_count_jobs_clients_and_submissions(api: Api) -> None:
    await api.submit()
    text = (await api.client.get("/metrics")).text
    assert 'reelin_jobs{state="queued"} 1.0' in text
    assert 'reelin_clients{transport="sse"} 0.0' in text
    assert "reelin_submit_seconds_count 1.0" in text


async def test_a_body_that_is_too_long_is_refused_announced_or_not(served: Api) -> None:
    body = json.dumps({"url": "https://example.org/" + "x" * MAX_LIST_BYTES}).encode()

    async def unannounced() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for content in (body, unannounced()):
        answer = await served.client.post("/api/jobs", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "body"
        assert "32 MB" in answer.json()["errors"][0]["remedy"]
    assert await served.stored() == 0
    assert (await served.submit()).id


async def test_a_body_in_pieces_is_read(served: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"url": ', b'"https://example.org', b'/one"}'):
            yield piece

    answer = await served.client.post("/api/jobs", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 202


async def test_every_operation_is_described_with_examples_and_problems(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    assert document["info"]["title"] == "Reelin"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation["summary"] and operation["description"] and operation["tags"], place
            if not path.startswith("/api/"):
                continue
            answers = operation["responses"]
            takes_something = operation.get("parameters") or operation.get("requestBody")
            assert {"401", "500", *(["422"] if takes_something else [])} <= set(answers), place
            for status, answer in answers.items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], f"{place} {status}"
                elif status in ("200", "202") and "files" not in path:
                    assert all("example" in content for content in answer["content"].values()), f"{place} {status}"
    assert document["components"]["schemas"]["Problem"]["properties"]["errors"]


async def test_every_reference_of_the_document_leads_somewhere(api: Api) -> None:
    text = (await api.client.get("/openapi.json")).text
    document = json.loads(text)
    for reference in {part.split('"')[0] for part in text.split('"$ref":"')[1:]}:
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


async def test_the_front_door_leads_to_the_documentation(api: Api) -> None:
    answer = await api.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
