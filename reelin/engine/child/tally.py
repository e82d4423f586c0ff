"""How far a download is, added up over the streams that will be merged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from reelin.contracts.jobs import Progress
from reelin.engine.child.rate import Rate


@dataclass
class _Stream:
    have: int = 0
    total: int | None = None
    estimate: int | None = None
    fragment: int | None = None
    fragments: int | None = None
    whole: bool = False


@dataclass(frozen=True)
class Planned:
    """What a format announces of a stream: its size, and its bit rate in any unit. None where it does not."""

    size: int | None
    rate: float | None


_UNPLANNED = Planned(None, None)


class Tally:
    """Fed with yt-dlp's progress statuses, for streams that come one after the other in the order of `planned`."""

    def __init__(self, planned: list[Planned]) -> None:
        self._planned = planned
        self._streams: dict[str, _Stream] = {}
        self._latest = ""
        self._percent = 0.0
        self._rate = Rate(time.monotonic())

    def note(self, status: dict[str, Any]) -> None:
        name = str(status["filename"])
        have = int(status.get("downloaded_bytes") or status.get("total_bytes") or 0)
        if name not in self._streams:
            self._streams[name] = _Stream()
            self._rate.skip(have)
        stream = self._streams[name]
        stream.have, stream.whole, self._latest = have, status["status"] == "finished", name
        stream.total = _number(status.get("total_bytes"))
        stream.estimate = _number(status.get("total_bytes_estimate")) or stream.estimate
        stream.fragments = status.get("fragment_count") or stream.fragments
        stream.fragment = stream.fragments if stream.whole else status.get("fragment_index")
        self._rate.note(time.monotonic(), self.downloaded_bytes)

    @property
    def downloaded_bytes(self) -> int:
        return sum(stream.have for stream in self._streams.values())

    @property
    def whole(self) -> bool:
        """All of it is on disk."""
        finished = sum(stream.whole for stream in self._streams.values())
        return finished >= max(1, len(self._planned))

    def announced_bytes(self) -> int:
        """What servers have said of the streams that have begun: no estimate in it."""
        return sum(max(stream.have, stream.total or 0) for stream in self._streams.values())

    def progress(self) -> Progress:
        total, exact = self._total()
        stream = self._streams.get(self._latest, _Stream())
        speed = self._rate.bytes_per_second
        return Progress(
            percent=self._advance(total),
            downloaded_bytes=self.downloaded_bytes,
            total_bytes=total,
            total_is_estimate=total is not None and not exact,
            bytes_per_second=speed,
            eta_seconds=(total - self.downloaded_bytes) / speed if total is not None and speed else None,
            fragment=stream.fragment,
            fragments=stream.fragments,
            stream=min(len(self._streams), len(self._planned)) or None,
            streams=len(self._planned),
        )

    def _advance(self, total: int | None) -> float | None:
        """An estimate may grow; what a person has been shown does not shrink."""
        if not total:
            return self._percent or None
        share = min(100.0, 100 * self.downloaded_bytes / total)
        self._percent = max(self._percent, share if self.whole else min(share, 99.9))
        return round(self._percent, 1)

    def _total(self) -> tuple[int | None, bool]:
        """The sum, and whether all of it is what servers have announced. Never less than what is there."""
        begun = list(self._streams.values())
        sizes = [stream.total or stream.estimate for stream in begun]
        sizes += [None] * (len(self._planned) - len(sizes))
        exact = all(stream.total is not None for stream in begun) and len(begun) >= len(self._planned)
        filled = self._fill_in(sizes)
        return (None, False) if filled is None else (max(self.downloaded_bytes, sum(filled)), exact)

    def _fill_in(self, sizes: list[int | None]) -> list[int] | None:
        """Sizes not known yet: as announced, else in proportion to the bit rates. None if nothing is known at all."""
        planned = [*self._planned, *[_UNPLANNED] * (len(sizes) - len(self._planned))]
        told = [size or plan.size for size, plan in zip(sizes, planned, strict=True)]
        known = [(size, plan.rate) for size, plan in zip(told, planned, strict=True) if size]
        if not told or told[0] is None:
            return None
        rates = sum(rate for _, rate in known if rate)
        per_rate = sum(size for size, rate in known if rate) / rates if rates else 0
        return [size or round(per_rate * (plan.rate or 0)) for size, plan in zip(told, planned, strict=True)]


def planned_streams(info: dict[str, Any]) -> list[Planned]:
    """Those that this video will be fetched in."""
    return [
        Planned(_number(each.get("filesize") or each.get("filesize_approx")), each.get("tbr"))
        for each in info.get("requested_formats") or [info]
    ]


def _number(value: Any) -> int | None:
    return round(value) if isinstance(value, (int, float)) and value > 0 else None
