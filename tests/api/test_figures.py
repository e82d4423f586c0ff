"""What the items of a batch come to."""

from __future__ import annotations

import pytest

from reelin.api.figures import PACE_SECONDS, Pace, Part, add_up
from reelin.contracts.jobs import Counts, Progress
from reelin.library import Standing


def standing(done_bytes: int = 0, **counts: int) -> Standing:
    return Standing(Counts(total=sum(counts.values()), **counts), done_bytes, ())


def test_a_batch_without_items_has_no_progress() -> None:
    assert add_up(standing(), []) is None


def test_whatever_became_of_an_item_it_is_through() -> None:
    progress = add_up(standing(completed=1, skipped=1, failed=1, cancelled=1, waiting=1, paused=2, queued=1), [])
    assert progress is not None and progress.percent == 50
    assert (progress.bytes_per_second, progress.eta_seconds, progress.total_bytes) == (None, None, None)


def test_a_job_that_runs_counts_by_how_far_it_is_and_whole_once_it_is_fetched() -> None:
    half = Part(Progress(percent=50, downloaded_bytes=5, total_bytes=10))
    merging = Part(Progress(percent=3, downloaded_bytes=20, total_bytes=20), fetched=True)
    unknown = Part(Progress(downloaded_bytes=7))
    progress = add_up(standing(running=3, queued=1), [half, merging, unknown])
    assert progress is not None
    assert (progress.percent, progress.downloaded_bytes) == (37.5, 32)
    assert (progress.total_bytes, progress.total_is_estimate) == (60, True), "two are known: the others as their mean"


def test_a_job_at_two_positions_counts_twice() -> None:
    twice = Part(Progress(percent=50, downloaded_bytes=5, total_bytes=10), positions=2)
    progress = add_up(standing(running=2, completed=2, done_bytes=20), [twice])
    assert progress is not None
    assert (progress.percent, progress.downloaded_bytes, progress.total_bytes) == (75, 30, 40)


def test_rates_are_summed_and_an_estimate_is_never_less_than_what_is_there() -> None:
    parts = [Part(Progress(downloaded_bytes=500, bytes_per_second=rate)) for rate in (10.0, None, 5.0)]
    progress = add_up(standing(running=3, completed=1, done_bytes=10), parts)
    assert progress is not None
    assert (progress.bytes_per_second, progress.total_bytes) == (15.0, 1510)


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace()
    for second in range(101):
        pace.note(float(second), second * (1.0 if second <= 50 else 3.0) - (0 if second <= 50 else 100))
    assert pace.items_per_second == pytest.approx(3.0)
    progress = add_up(standing(completed=70, queued=30), [], pace.items_per_second)
    assert progress is not None and progress.eta_seconds == 10.0


def test_a_pace_is_not_guessed_too_early_nor_kept_when_nothing_moves() -> None:
    pace = Pace()
    assert pace.items_per_second is None
    pace.note(0.0, 0.0)
    pace.note(1.0, 10.0)
    assert pace.items_per_second is None
    pace.note(2.0, 10.0)
    assert pace.items_per_second == 5.0
    for second in range(3, 3 + int(PACE_SECONDS)):
        pace.note(float(second), 10.0)
    assert pace.items_per_second is None


def test_items_that_are_tried_again_begin_a_new_pace() -> None:
    pace = Pace()
    pace.note(0.0, 0.0)
    pace.note(10.0, 100.0)
    pace.note(11.0, 20.0)
    assert pace.items_per_second is None
