"""What a job, or a batch's items, wait for, in words. Everything returned is harmless text on one line.

With `now`, for a line that is drawn again and again, it says how much time is left, and else until when.
"""

from __future__ import annotations

from datetime import UTC, datetime

from reelin.cli.text import clean, duration, moment
from reelin.contracts.jobs import ItemsWait, Job, SiteLine, State, Wait, WaitReason

_MESSAGE = 160
#: Of a batch, what is no news while others of its items run.
_AS_USUAL = frozenset({WaitReason.LINE, WaitReason.WORKER, WaitReason.TEMPORAL, WaitReason.PAUSED})
_FOR = {
    WaitReason.DISK: "for the disk",
    WaitReason.RESOURCES: "for memory and files",
    WaitReason.PREMIERE: "for the video to begin",
    WaitReason.LINE: "in line",
    WaitReason.TEMPORAL: "to be started",
    WaitReason.WORKER: "for a worker",
    WaitReason.PAUSED: "paused",
}


def sentence(job: Job, now: datetime | None = None) -> str:
    """ "waits until 12:20:05 after site_error (attempt 3): HTTP Error 500"; empty where the job moves."""
    wait = job.waiting_for
    if wait is None:
        return ""
    match wait.reason:
        case WaitReason.PAUSED:
            return "paused, until someone resumes it"
        case WaitReason.LINE:
            return f"waits in line of {clean(job.parent_id)}" if job.parent_id else "waits in its batch's line"
        case WaitReason.SITE:
            return _with(f"waits for its site{_named(job.site)}", _at_its_site(wait, now))
        case WaitReason.TEMPORAL if wait.message:  # else it is told in an instant
            said = "waits for Temporal"
        case WaitReason.RETRY:
            when = _when(wait.until, now) or "for its next attempt"
            said = _join("waits", when, _after(wait.failure, wait.attempt))
        case _:
            said = _join("waits", _FOR[wait.reason], _when(wait.until, now))
    return _with(said, _told(wait.message))


def summary(job: Job, now: datetime | None = None) -> str:
    """Of a batch, what keeps it from going on, or what keeps some of its items; empty where all is as usual."""
    moves = bool(job.counts and job.counts.running)
    news = [wait for wait in job.items_waiting if wait.reason not in _AS_USUAL]
    shown = news or [wait for wait in job.items_waiting if not moves and wait.reason is not WaitReason.PAUSED]
    said = [] if job.state is State.PAUSED else [of_items(wait, now) for wait in shown[:2]]
    return "; ".join(part for part in (sentence(job, now), *said) if part)


def of_items(wait: ItemsWait, now: datetime | None = None) -> str:
    """ "5 wait, next at 12:20:05, after site_error (attempt 3): HTTP Error 500"."""
    count = f"{wait.count:,} wait{'' if wait.count != 1 else 's'}"
    match wait.reason:
        case WaitReason.PAUSED | WaitReason.LINE:
            return f"{wait.count:,} {_FOR[wait.reason]}"
        case WaitReason.SITE:
            said = _join(count, f"for {clean(wait.site)}" if wait.site else "for their sites")
        case WaitReason.RETRY:
            said = count
        case _:
            said = _join(count, _FOR[wait.reason])
    parts = (said, _next(wait.until, now), _after(wait.failure, wait.attempt))
    return _with(", ".join(part for part in parts if part), _told(wait.message))


def _at_its_site(wait: Wait, now: datetime | None) -> str:
    shut = f"shut {_when(wait.until, now)}" if wait.until else ""
    parts = (_join(shut, _after(wait.failure)), _line(wait.site) if wait.site else "")
    return ", ".join(part for part in parts if part)


def _line(site: SiteLine) -> str:
    of = "" if site.max_at_once is None else f" of {site.max_at_once:,}"
    run = f"{site.in_use:,}{of} {'run' if of or site.in_use != 1 else 'runs'}"
    return f"{run}, {site.waiting:,} in line" if site.waiting else run


def _named(site: str | None) -> str:
    return f" {clean(site)}" if site else ""


def _when(until: datetime | None, now: datetime | None) -> str:
    if until is None:
        return ""
    left = (until - (now or datetime.now(UTC))).total_seconds()
    if left <= 0:
        return f"since {_clock(until)}"
    return f"until {_clock(until)}" if now is None else duration(left)


def _next(until: datetime | None, now: datetime | None) -> str:
    """Of several, the one whose turn comes first."""
    if until is None:
        return ""
    left = (until - (now or datetime.now(UTC))).total_seconds()
    if left <= 0:
        return "next now"
    return f"next at {_clock(until)}" if now is None else f"next in {duration(left)}"


def _clock(when: datetime) -> str:
    """The time of day, and the day where it is another."""
    local = when.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == datetime.now().astimezone().date() else moment(when)


def _after(failure: str | None, attempt: int = 0) -> str:
    if failure is None:
        return ""
    return f"after {failure}" + (f" (attempt {attempt})" if attempt else "")


def _told(message: str | None) -> str:
    return clean(message, limit=_MESSAGE).rstrip(".") if message else ""


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _with(said: str, detail: str) -> str:
    return f"{said}: {detail}" if detail else said
