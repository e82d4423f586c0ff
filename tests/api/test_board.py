"""How a row and progress become one state, with versions that only grow."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from reelin.api.board import Board
from reelin.api.view import LinkMaker
from reelin.contracts.jobs import Kind, Phase, State
from reelin.library import JobRecord, Library
from tests.api.service import progress, running_job


@pytest.fixture
async def row(tmp_path: Path) -> JobRecord:
    library = Library(f"sqlite:///{tmp_path / 'board.db'}")
    await library.open()
    try:
        return await running_job(library, "one")
    finally:
        await library.close()


@pytest.fixture
def board() -> Board:
    return Board(LinkMaker())


def test_progress_makes_a_queued_row_running_before_the_row_says_so(board: Board, row: JobRecord) -> None:
    queued = replace(row, state=State.QUEUED, attempt=0, version=row.version - 10)
    board.learn(queued)
    assert board.note(progress(row.id, 10, version=row.version))
    job = board.view(queued)
    assert (job.state, job.attempt, job.version) == (State.RUNNING, 1, row.version)


def test_the_kind_is_known_once_the_page_has_been_looked_at(board: Board, row: JobRecord) -> None:
    board.note(progress(row.id, 0, phase=Phase.EXTRACTING))
    assert board.view(row).kind is Kind.AUTO
    board.note(progress(row.id, 1, phase=Phase.DOWNLOADING))
    assert board.view(row).kind is Kind.VIDEO


def test_progress_of_an_older_attempt_or_of_a_finished_job_is_not_shown(board: Board, row: JobRecord) -> None:
    board.note(progress(row.id, 10, version=row.version + 5))
    waiting = replace(row, state=State.WAITING, version=row.version + 10)
    second = replace(row, attempt=2, version=row.version + 10)
    done = replace(row, state=State.COMPLETED, version=row.version + 1)
    for record in (waiting, second, done):
        assert board.view(record).progress is None
    board.learn(done)
    assert not board.has_progress(row.id)
    assert not board.note(progress(row.id, 11, version=row.version + 50))


def test_versions_grow_even_if_the_clocks_of_two_machines_disagree(row: JobRecord) -> None:
    today = row.version / 1_000_000 + 5
    board = Board(LinkMaker(), today=lambda: today)
    board.learn(row)
    board.note(progress(row.id, 99, version=row.version + 3_600_000_000))
    ahead = board.event(row.id)
    assert ahead is not None and ahead.version <= today * 1_000_000, "a worker's clock that is ahead is not believed"
    done = replace(row, state=State.FAILED, version=row.version + 1000)
    assert board.view(done).version > ahead.version
    board.learn(done)
    final = board.event(row.id)
    assert final is not None
    assert final.final and final.version > ahead.version


@pytest.mark.parametrize("apart", [-3_600_000_000, -10_000_000, 10_000_000, 3_600_000_000])
def test_a_worker_that_takes_over_is_heard_whatever_its_clock_says(board: Board, row: JobRecord, apart: int) -> None:
    board.learn(row)
    board.note(progress(row.id, 50, version=row.version + 1000, sender="killed"))
    before = board.event(row.id)
    assert board.note(progress(row.id, 10, version=row.version + 2000 + apart, sender="next"))
    job = board.view(row)
    assert job.progress is not None and job.progress.percent == 10
    assert before is not None and job.version > before.version
    assert not board.note(progress(row.id, 5, version=row.version + 1000 + apart, sender="next")), "it came late"


def test_a_job_that_waits_is_not_shown_running_by_a_worker_whose_clock_is_ahead(board: Board, row: JobRecord) -> None:
    waits = replace(row, state=State.WAITING, version=row.version + 10)
    board.note(progress(row.id, 50, version=row.version + 3_600_000_000))
    board.learn(waits)
    assert board.view(waits).state is State.WAITING
    assert not board.note(progress(row.id, 51, version=row.version + 3_600_000_001))


def test_an_event_is_built_once_per_change(board: Board, row: JobRecord) -> None:
    board.learn(row)
    assert board.event(row.id) is board.event(row.id)
    assert not board.learn(row)
    before = board.event(row.id)
    board.note(progress(row.id, 1))
    assert board.event(row.id) is not before


def test_looking_at_a_row_remembers_nothing(board: Board, row: JobRecord) -> None:
    board.view(row)
    assert len(board) == 0 and board.event(row.id) is None


def test_what_is_idle_can_be_named(row: JobRecord) -> None:
    clock = iter([0.0, 50.0, 100.0])
    board = Board(LinkMaker(), clock=lambda: next(clock))
    board.learn(row)
    board.learn(replace(row, id="video-two"))
    assert board.idle(60) == [row.id]


def test_a_version_is_a_time_in_microseconds(row: JobRecord) -> None:
    assert abs(row.version - time.time() * 1_000_000) < 60_000_000
