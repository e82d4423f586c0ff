"""A short form of `bench/engine.py`: every figure is there and is one, whatever this machine makes of it."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import pytest

from reelin.origin.process import OriginProcess

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench() -> Any:
    """The module, which imports its neighbours by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        return importlib.import_module("engine")


@pytest.mark.timeout(300)  # it loads yt-dlp four times
async def test_the_engines_benchmark_measures_everything(bench: Any, tmp_path: Path) -> None:
    amounts = bench.Amounts(small=2, megabytes=2, rounds=1, at_once=3)
    with OriginProcess(tmp_path / "origin") as origin:
        tables = await bench.measure(origin, tmp_path, amounts)
    figures = [figure for table in tables.values() for figure in table]
    # A difference of two small sums may come out below zero.
    sums = [figure.seen for figure in figures if "more" not in figure.label]
    assert all(math.isfinite(seen) and seen >= 0 for seen in sums)
    targets = {figure.label.strip() for figure in figures if figure.target is not None}
    assert len(targets) == 9
    assert all(len(figure.row()) == 5 for figure in figures)


def test_a_target_is_a_limit_from_one_side(bench: Any) -> None:
    figure = importlib.import_module("targets").Figure
    assert figure("most", 5.0, target=5).met
    assert not figure("most", 5.1, target=5).met
    assert figure("least", 0.8, target=0.8, at_least=True).met
    assert not figure("least", 0.79, target=0.8, at_least=True).met
    assert figure("for information", 1e9).met
