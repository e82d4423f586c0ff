"""A short form of `bench/wishes.py`: where every job is in the end, whatever was wished of it, and how quickly."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reelin.origin.server import Origin

BENCH = Path(__file__).parents[2] / "bench"
SEED = 2


@pytest.fixture(scope="module")
def bench() -> Any:
    """The module, which imports its neighbours by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        return importlib.import_module("wishes")


@pytest.fixture
def up(bench: Any, tmp_path: Path) -> Iterator[Any]:
    service = bench.Up(tmp_path, "everything")
    try:
        service.start()
        yield service
    finally:
        service.stop()


async def test_every_job_is_where_the_last_wish_says_though_the_service_is_killed_meanwhile(
    bench: Any, up: Any, origin: Origin
) -> None:
    wishes = bench.Wishes(up, origin, seed=SEED)
    rounds = await wishes.run(sequences=16, at_once=8, victims=("nothing", "everything"))
    assert [f"{each.fault}: {each.story()}" for one in rounds for each in one.sequences if each.fault] == []
