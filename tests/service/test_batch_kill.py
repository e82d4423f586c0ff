"""A short form of `bench/batch_kills.py`: kill -9 in the middle of a list loses, doubles and spoils nothing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reelin.origin.process import OriginProcess
from tests.origin.fixtures import media_folder

BENCH = Path(__file__).parents[2] / "bench"
ITEMS = 60


@pytest.fixture(scope="module")
def bench() -> Any:
    """The module, which imports its neighbours by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        return importlib.import_module("batch_kills")


@pytest.fixture(scope="module")
def own_origin() -> Iterator[OriginProcess]:
    with OriginProcess(media_folder()) as started:
        yield started


@pytest.mark.parametrize("way", ["up:everything", "worker+temporal", "api"])
def test_a_killed_batch_has_every_item_once_and_right(bench: Any, own_origin: OriginProcess, way: str) -> None:
    outcome = bench.run(way, own_origin, items=ITEMS, kills=1)
    assert outcome.sound, outcome
    assert outcome.again_percent < 50, "what was fetched is not fetched again"
