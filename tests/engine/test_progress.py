"""How far a download is, from what yt-dlp's hooks say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.contracts.model import Message
from reelin.engine.child.fragmentmeter import FragmentMeter
from reelin.engine.child.progress import Reporter
from reelin.engine.child.rate import Rate
from reelin.engine.child.tally import Planned, Tally, planned_streams
from reelin.engine.child.watch import _position_seconds
from reelin.engine.seam import Report
from reelin.engine.stall import Patience
from reelin.engine.wire import Alive, Reported
from reelin.errors import MediaFailure


def status(name: str, have: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    return {"status": "downloading", "filename": name, "downloaded_bytes": have, "total_bytes": total, **more}


def finished(name: str, size: int) -> dict[str, Any]:
    return {"status": "finished", "filename": name, "downloaded_bytes": size, "total_bytes": size}


class Outlet:
    def __init__(self) -> None:
        self.said: list[Message] = []

    def say(self, message: Message) -> None:
        self.said.append(message)

    @property
    def reports(self) -> list[Report]:
        return [message.report for message in self.said if isinstance(message, Reported)]


def test_streams_of_a_merge_add_up() -> None:
    tally = Tally([Planned(1000, None), Planned(200, None)])
    tally.note(status("video", 500, 1000))
    progress = tally.progress()
    assert (progress.downloaded_bytes, progress.total_bytes, progress.total_is_estimate) == (500, 1200, True)
    assert (progress.stream, progress.streams, progress.percent) == (1, 2, 41.7)
    tally.note(finished("video", 1000))
    tally.note(status("sound", 100, 200))
    progress = tally.progress()
    assert (progress.downloaded_bytes, progress.total_bytes, progress.total_is_estimate) == (1100, 1200, False)
    assert progress.stream == 2


def test_a_stream_of_unknown_size_is_estimated_by_its_bit_rate() -> None:
    tally = Tally([Planned(None, 900.0), Planned(None, 100.0)])
    tally.note(status("video", 450, 900))
    assert tally.progress().total_bytes == 1000
    assert tally.progress().percent == 45


def test_without_any_size_there_is_no_percent() -> None:
    tally = Tally([Planned(None, None)])
    tally.note(status("video", 500))
    assert tally.progress().percent is None
    assert tally.progress().downloaded_bytes == 500


def test_percent_never_shrinks_and_a_hundred_means_done() -> None:
    tally = Tally([Planned(None, None)])
    shown = []
    for have, estimate in [(10, 100), (50, 100), (60, 300), (299, 299), (300, 310)]:
        tally.note(status("video", have, total_bytes_estimate=estimate))
        shown.append(tally.progress().percent or 0)
    assert all(earlier <= later for earlier, later in pairwise(shown))
    assert max(shown) < 100
    tally.note(finished("video", 310))
    assert tally.progress().percent == 100


def test_what_was_on_disk_does_not_count_as_speed() -> None:
    rate = Rate(now=0.0)
    rate.skip(1_000_000)
    rate.note(1.0, 1_050_000)
    rate.note(2.0, 1_100_000)
    assert rate.bytes_per_second == pytest.approx(50_000)


def test_planned_streams_are_those_of_a_merge_or_the_video_itself() -> None:
    merge = {"requested_formats": [{"filesize": 7}, {"filesize_approx": 3.2, "tbr": 128}]}
    assert planned_streams(merge) == [Planned(7, None), Planned(3, 128)]
    assert planned_streams({"filesize": None}) == [Planned(None, None)]


def test_fragments_that_arrive_at_once_are_estimated_by_their_mean() -> None:
    meter = FragmentMeter(start_bytes=100, appended=1, count=10)
    meter.note(status("F2", 40, 100))
    meter.note(status("F3", 60, 130))
    now = meter.status()
    assert (now["downloaded_bytes"], now["total_bytes_estimate"], now["fragment_index"]) == (200, 1100, 1)
    meter.note(finished("F3", 130))
    assert meter.status()["fragment_index"] == 2


def test_phase_changes_and_the_last_byte_go_out_at_once() -> None:
    outlet = Outlet()
    reporter = Reporter(outlet, None)
    reporter.extracting()
    reporter.video({"filesize": 1000}, "a title", copies=1)
    for have in range(0, 1000, 10):
        reporter.on_progress(status("video", have, 1000))
    reporter.on_progress(finished("video", 1000))
    reporter.on_postprocessor({"status": "started", "postprocessor": "Merger"})
    reporter.on_postprocessor({"status": "started", "postprocessor": "Merger"})
    reporter.on_postprocessor({"status": "started", "postprocessor": "MoveFiles"})
    reporter.publishing()
    phases = [report.phase for report in outlet.reports]
    assert list(dict.fromkeys(phases)) == [Phase.EXTRACTING, Phase.DOWNLOADING, Phase.MERGING, Phase.PUBLISHING]
    assert len(phases) <= 7
    downloading = [report for report in outlet.reports if report.phase is Phase.DOWNLOADING]
    assert (downloading[0].title, downloading[-1].progress.percent) == ("a title", 100)


def test_a_report_that_was_held_back_is_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("reelin.engine.child.progress.time.monotonic", lambda: now[0])
    outlet = Outlet()
    reporter = Reporter(outlet, None)
    reporter.video({"filesize": None}, "", copies=1)
    reporter.on_progress(status("video", 10, 1000))
    reporter.on_progress(status("video", 20, 1000))
    reporter.flush()
    assert outlet.reports[-1].progress.downloaded_bytes == 10
    now[0] += 0.2
    reporter.flush()
    reporter.flush()
    assert [report.progress.downloaded_bytes for report in outlet.reports[-2:]] == [10, 20]


def test_streams_together_may_not_exceed_the_limit() -> None:
    reporter = Reporter(Outlet(), max_bytes=1000)
    reporter.video({"requested_formats": [{}, {}]}, "", copies=2)
    reporter.on_progress(finished("video", 900))
    with pytest.raises(MediaFailure) as failure:
        reporter.on_progress(status("sound", 10, 101))
    assert failure.value.kind == FailureKind.TOO_LARGE


def test_ffmpegs_position_is_the_last_one_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "progress"
    assert _position_seconds(file) is None
    file.write_text(
        "frame=1\nout_time_us=1000000\nprogress=continue\nframe=2\nout_time_us=2500000\nprogress=continue\n"
    )
    assert _position_seconds(file) == 2.5


def _news(phase: Phase, have: int) -> Reported:
    return Reported(report=Report.model_validate({"phase": phase, "progress": {"downloaded_bytes": have}}))


def test_only_bytes_extend_the_patience_with_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("reelin.engine.stall.time.monotonic", lambda: now[0])
    patience = Patience(30)
    assert patience.remaining_seconds() == 180
    patience.note(_news(Phase.DOWNLOADING, 5))
    assert patience.remaining_seconds() == 30
    now[0] = 20
    patience.note(_news(Phase.DOWNLOADING, 5))
    assert patience.remaining_seconds() == 10
    patience.note(_news(Phase.DOWNLOADING, 6))
    assert patience.remaining_seconds() == 30
    patience.note(Alive(for_seconds=60))
    assert patience.remaining_seconds() == 90
    patience.note(_news(Phase.MERGING, 6))
    assert patience.remaining_seconds() == 30
    assert patience.failure().kind == FailureKind.PROCESSING


def test_a_program_has_ten_seconds_to_start_however_little_patience_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelin.engine.stall.time.monotonic", lambda: 0.0)
    patience = Patience(2)
    patience.note(_news(Phase.DOWNLOADING, 5))
    assert patience.remaining_seconds() == 2
    patience.note(_news(Phase.PROCESSING, 5))
    assert patience.remaining_seconds() == 10
