"""Two installations on one Temporal namespace: neither takes the other's work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from reelin.contracts.jobs import State
from reelin.embedded.ports import choose_port
from reelin.embedded.server import ServerPlan, TemporalServer, find_temporal
from reelin.origin.server import Origin
from tests.service.installation import Installation


@pytest.fixture
def temporal_address(tmp_path: Path) -> Iterator[str]:
    """Of a server of your own, in a process of its own."""
    server = TemporalServer(ServerPlan(find_temporal(), tmp_path / "temporal", choose_port(0), choose_port(0)))
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server.plan.address
        runner.run(server.stop())


@pytest.fixture
def two(tmp_path: Path, temporal_address: str) -> Iterator[tuple[Installation, Installation]]:
    made = tuple(
        Installation(tmp_path / name, temporal_address, REELIN_UNLIMITED_SITES="", REELIN_MAX_DOWNLOADS="4")
        for name in ("one", "two")
    )
    try:
        yield made[0].start(), made[1].start()
    finally:
        for each in made:
            each.close()


def test_equal_jobs_of_two_installations_are_done_by_both(
    two: tuple[Installation, Installation], origin: Origin
) -> None:
    paths = [f"/file/200000/shared-{number}" for number in range(4)]
    listed = [f"/file/100000/listed-{number}" for number in range(6)]
    urls = [origin.url_for(path, rate=200_000) for path in paths]
    jobs = [[each.submit(url).id for url in urls] for each in two]
    assert jobs[0] == jobs[1], "else they could not get in each other's way"
    lists = [each.submit_list([origin.url_for(path) for path in listed]) for each in two]
    for each, list_ in zip(two, lists, strict=True):
        done = [each.wait(job_id) for job_id in jobs[0]]
        assert [job.state for job in done] == [State.COMPLETED] * 4, each.said()
        assert [each.path_of(job).read_bytes() for job in done] == [origin.reference(path) for path in paths]
        assert each.wait(list_.id).counts.completed == 6  # type: ignore[union-attr]
        shown = each.api.get("/api/sites/127.0.0.1").json()
        assert shown["max_at_once"] == 4
