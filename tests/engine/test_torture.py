"""A short form of `bench/torture.py`: every kind of media, killed at moments and in ways that the seed decides."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from reelin.origin.server import Origin

BENCH = Path(__file__).parents[2] / "bench"
SEED = 3
SUBTITLE_FRAGMENTS = 3
#: What the origin has handed to the kernel and the killed child had not read yet counts as sent. Its rate keeps that
#: to what a child that gets no CPU leaves in the loopback's socket buffers, which begin with about so much.
SOCKET_BYTES = 256 * 1024


@pytest.fixture(scope="module")
def bench() -> Any:
    """The module, which imports its neighbours by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        return importlib.import_module("torture")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runs(bench: Any, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Any]]:
    torture = bench.Torture(origin, tmp_path_factory.mktemp("torture"))
    yield await torture.run(rounds=1, kills=2, seed=SEED, lanes=4)


def test_every_file_is_that_of_an_undisturbed_download(bench: Any, runs: list[Any]) -> None:
    assert len(runs) == len(bench.KINDS)
    assert sum(len(run.kills) for run in runs) > len(runs)
    assert not [run.story() for run in runs if run.wrong or run.ended_by]


def test_nothing_fails_but_what_was_killed(runs: list[Any]) -> None:
    assert not [run.story() for run in runs if run.failures]


def test_a_kill_costs_a_second_or_a_fragment_for_each_thread(bench: Any, runs: list[Any]) -> None:
    for run in runs:
        for kill in run.kills:
            if run.kind.direct:
                assert kill.again_bytes <= bench.FILE_RATE + SOCKET_BYTES, run.story()
            else:
                # Nothing is added for the sockets: whatever is in them belongs to a fragment that counts already.
                assert kill.again <= _fragments_at_once(run.kind), run.story()


def _fragments_at_once(kind: Any) -> int:
    """Subtitles are a few hundred bytes each, and fetched afresh when only their last fragment is missing."""
    return max(kind.threads, SUBTITLE_FRAGMENTS) if kind.options else int(kind.threads)
