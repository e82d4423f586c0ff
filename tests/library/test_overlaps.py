"""A short form of `bench/overlaps.py`: every job is held by somebody, whatever people do with lists that overlap.

It tries the same examples each time, so that a merge does not depend on luck; with OVERLAPS_EXAMPLES=5000 in the
environment it hunts for new ones.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelin.library import Library
from tests.postgres import PostgresServer

BENCH = Path(__file__).parents[2] / "bench"
_HUNT = os.environ.get("OVERLAPS_EXAMPLES")

with pytest.MonkeyPatch.context() as patch:  # it imports its neighbours by their bare names
    patch.syspath_prepend(BENCH)
    overlaps: Any = importlib.import_module("overlaps")

_NUMBERS = st.integers(0, 63)
_STEPS = st.lists(st.tuples(st.sampled_from(overlaps.DRAWN), _NUMBERS, _NUMBERS), min_size=8, max_size=20)

#: Plays steps on an empty library.
Play = Callable[[Any], None]


@pytest.fixture(scope="module")
def play_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    yield from _playing(f"sqlite:///{tmp_path_factory.mktemp('overlaps') / 'reelin.db'}")


@pytest.fixture(scope="module")
def play_on_postgresql(postgres: PostgresServer) -> Iterator[Play]:
    with asyncio.Runner() as runner:
        url = runner.run(postgres.new())
    yield from _playing(url)


def _playing(url: str) -> Iterator[Play]:
    """In a loop of its own: hypothesis calls no coroutines."""
    library = Library(url)
    with asyncio.Runner() as runner:
        runner.run(library.open())
        yield lambda steps: runner.run(overlaps.play(library, steps))
        runner.run(library.close())


def _trying(examples: int) -> Any:
    return settings(max_examples=int(_HUNT or examples), deadline=None, derandomize=_HUNT is None, database=None)


@_trying(40)
@given(_STEPS)
def test_every_job_has_somebody_who_lets_it_go_whatever_lists_come_and_go(
    play_on_sqlite: Play, steps: list[Any]
) -> None:
    play_on_sqlite(steps)


@_trying(6)
@given(_STEPS)
def test_the_same_on_postgresql(play_on_postgresql: Play, steps: list[Any]) -> None:
    play_on_postgresql(steps)


@pytest.mark.parametrize("seed", range(6))
def test_a_long_history_of_overlapping_lists_comes_to_its_end(play_on_sqlite: Play, seed: int) -> None:
    play_on_sqlite(overlaps.draw(seed, 60))
