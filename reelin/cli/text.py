"""Text for people: what came from the net made harmless, and figures in words.

Titles, URLs and messages are hostile: they may carry escape sequences that repaint the terminal, set its title or
write to its clipboard, and marks that reverse the reading direction. `clean` is the only way for them to the screen.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

#: CSI and OSC sequences with their parameters, and the two-character ones: dropped whole, or their tail would stay.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]"
)
_OTHER_SPACES = re.compile(r"[^\S ]+")
#: Without the joiners, emoji and several scripts fall apart; they can do no harm.
_JOINERS = "\u200c\u200d"
_UNITS = ("kB", "MB", "GB", "TB")


def clean(text: str, *, limit: int = 300) -> str:
    """`text` on one line, without control and direction characters, at most `limit` characters long."""
    text = _OTHER_SPACES.sub(" ", _ESCAPES.sub("", text[: limit * 10]))
    text = "".join(character for character in text if _harmless(character)).rstrip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _harmless(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} or character in _JOINERS


def size(n_bytes: float | None) -> str:
    """1048576 is "1.0 MB"; decimal units, as disks and networks are sold."""
    if n_bytes is None:
        return "–"
    if n_bytes < 1000:
        return f"{n_bytes:.0f} B"
    value = float(n_bytes)
    for unit in _UNITS:
        value /= 1000
        if value < 999.95 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """75 is "1:15", 3675 is "1:01:15"."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(when: datetime | None) -> str:
    """In this machine's time zone."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}" if when else ""


def plural(count: int, noun: str, many: str | None = None) -> str:
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def short_id(job_id: str) -> str:
    """`video-3f9c01ab` for `video-3f9c01ab…`: enough to name a job to `reelin show`."""
    prefix, dash, rest = job_id.partition("-")
    return f"{prefix}{dash}{rest[:8]}"
