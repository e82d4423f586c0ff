"""Whether a finished file is as long as was announced.

Announcements are rough: rounded, taken from another cut, or written by hand. What is longer than announced is fine;
what is shorter by more than a rough announcement explains has lost its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reelin.contracts.failures import FailureKind
from reelin.contracts.options import Options
from reelin.errors import MediaFailure

#: Rounding, the last fragment, an encoder's padding; and a cut for another country or with other titles.
_SLACK_SECONDS, _SLACK_SHARE = 2.0, 0.05
#: What is announced is the video, whose sound may end before its pictures.
_AUDIO_SLACK_SECONDS, _AUDIO_SLACK_SHARE = 5.0, 0.10
_MINUTE = 60.0
_LIVE = frozenset({"is_live", "post_live", "was_live"})


@dataclass(frozen=True)
class Promise:
    """A file that is shorter than `seconds` by more than `slack` is not all of it."""

    seconds: float
    slack: float


def promises(
    info: Mapping[str, Any], options: Options, announced: float | None, fragments: float | None
) -> tuple[Promise, ...]:
    """`announced` is the length that the site gives, `fragments` what a playlist's fragments add up to.

    None for what is cut on purpose (sections, SponsorBlock) or has no length before it ends (live).
    """
    if options.sections or (options.sponsorblock and options.sponsorblock.remove):
        return ()
    if info.get("is_live") or info.get("live_status") in _LIVE:
        return ()
    found = []
    if announced:
        found.append(Promise(announced, max(_slack(info, announced), _rounding(announced))))
    if fragments:
        found.append(Promise(fragments, _slack(info, fragments)))
    return tuple(found)


def _slack(info: Mapping[str, Any], seconds: float) -> float:
    if info.get("vcodec") == "none":
        return max(_AUDIO_SLACK_SECONDS, _AUDIO_SLACK_SHARE * seconds)
    return max(_SLACK_SECONDS, _SLACK_SHARE * seconds)


def _rounding(seconds: float) -> float:
    """A whole number of minutes is likely to be one because somebody counts in minutes."""
    return _MINUTE if seconds % _MINUTE == 0 else 0.0


def refuse_short(seconds: float | None, promised: Iterable[Promise]) -> None:
    """`seconds` None: the file does not say how long it is. Raises MediaFailure, of a kind that is fetched afresh."""
    for promise in promised:
        if seconds is not None and seconds < promise.seconds - promise.slack:
            raise MediaFailure(
                FailureKind.RESUME_CONFLICT,
                f"The file is {_said(seconds)} long, but {_said(promise.seconds)} were announced.",
            )


def _said(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{seconds:.1f} s"
