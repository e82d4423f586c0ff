"""A job in words: its name, where it stands, what came out. Everything returned is harmless text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError
from rich.text import Text

from reelin.cli.text import clean, duration, moment, short_id, size
from reelin.cli.waits import of_items, sentence, summary
from reelin.contracts.failures import Failure
from reelin.contracts.jobs import BATCH_KINDS, Counts, Job, Progress, ResultFile, State, WaitReason

STYLES = {
    State.QUEUED: "dim",
    State.RUNNING: "cyan",
    State.WAITING: "yellow",
    State.PAUSED: "yellow",
    State.COMPLETED: "green",
    State.PARTIAL: "yellow",
    State.FAILED: "red",
    State.CANCELLED: "dim",
}
_MARKS = {State.COMPLETED: "✓", State.PARTIAL: "!", State.FAILED: "✗", State.CANCELLED: "–"}


def name(job: Job) -> str:
    return clean(job.title or job.url or job.id)


def files(job: Job) -> tuple[ResultFile, ...]:
    """What a finished download published; empty for every other kind of job."""
    listed: Any = (job.result or {}).get("files") or ()
    try:
        return tuple(ResultFile.model_validate(file) for file in listed)
    except (ValidationError, TypeError):
        return ()


def percent(job: Job) -> float | None:
    if job.state is State.COMPLETED:
        return 100.0
    if job.progress and job.progress.percent is not None:
        return job.progress.percent
    if job.counts and job.counts.total:
        return 100.0 * settled(job.counts) / job.counts.total
    return None


def settled(counts: Counts) -> int:
    """The items that are through, whatever came of them."""
    return counts.completed + counts.skipped + counts.failed + counts.cancelled


def tally(counts: Counts) -> str:
    """A batch's items in words: "7/12: 5 done, 1 skipped, 1 failed, 2 running, 3 waiting"."""
    parts = {
        "done": counts.completed,
        "skipped": counts.skipped,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "running": counts.running,
        "waiting": counts.waiting,
        "paused": counts.paused,
    }
    said = ", ".join(f"{count:,} {word}" for word, count in parts.items() if count)
    return f"{settled(counts):,}/{counts.total:,}" + (f": {said}" if said else "")


def was_there(job: Job) -> bool:
    """Whether its file was in the library before."""
    return job.state is State.COMPLETED and (job.result or {}).get("skipped") is True  # of a batch it is a number


def amount(progress: Progress | None) -> str:
    """ "4.4/10.5 MB"; "~" before a total that is an estimate."""
    if progress is None or not (progress.downloaded_bytes or progress.total_bytes):
        return ""
    done = size(progress.downloaded_bytes)
    if progress.total_bytes is None:
        return done
    total = ("~" if progress.total_is_estimate else "") + size(progress.total_bytes)
    value, _, unit = done.partition(" ")
    return f"{value if total.endswith(unit) else done}/{total}"


def speed(progress: Progress | None) -> str:
    return f"{size(progress.bytes_per_second)}/s" if progress and progress.bytes_per_second else ""


def eta(progress: Progress | None) -> str:
    return duration(progress.eta_seconds) if progress and progress.eta_seconds is not None else ""


def activity(job: Job, now: datetime | None = None) -> str:
    """What it is busy with, or waits for: "downloading 3/20", "waits until 12:03:10 after network (attempt 1): …".

    With `now`, for a line that is drawn again and again, waits count down.
    """
    if job.state.final:
        return job.state.value
    if job.counts and job.counts.total:
        stands = summary(job, now) or ("" if job.state is State.RUNNING else job.state.value)
        return "; ".join(part for part in (tally(job.counts), stands) if part)
    waits = sentence(job, now)
    if waits or job.state is not State.RUNNING:
        return waits or job.state.value
    parts = [job.phase.value if job.phase else job.state.value, *_fragments(job.progress)]
    return " ".join(parts)


def standstill(job: Job) -> str:
    """What it waits for, where its state does not say all of it; of a batch, what keeps it or some of its items."""
    usual = job.waiting_for is not None and job.waiting_for.reason in (WaitReason.PAUSED, WaitReason.LINE)
    return "" if usual or job.state.final else summary(job).removeprefix("waits ")


def _fragments(progress: Progress | None) -> list[str]:
    if progress is None:
        return []
    streams = [f"stream {progress.stream}/{progress.streams}"] if (progress.streams or 0) > 1 else []
    fragments = [f"{progress.fragment or 0}/{progress.fragments}"] if progress.fragments else []
    return fragments + streams


def failure_lines(failure: Failure) -> list[str]:
    """Kind and message, then the remedy."""
    return [f"{failure.kind}: {clean(failure.message)}", clean(failure.remedy)]


def outcome(job: Job) -> Text:
    """A final job, with its files or with what went wrong and what to do."""
    lines = [f"{_MARKS.get(job.state, ' ')} {name(job)}", *(f"    {line}" for line in _consequences(job))]
    text = Text("\n".join(lines))
    text.stylize(STYLES[job.state], 0, 1)
    return text


def _consequences(job: Job) -> list[str]:
    if job.state is State.CANCELLED:
        return ["cancelled", *([tally(job.counts)] if job.counts else [])]
    if job.failure and job.state is not State.COMPLETED:
        return [*failure_lines(job.failure), f"To try again: reelin retry {short_id(job.id)}"]
    if job.counts:
        return [tally(job.counts)]
    return [f"{clean(file.path, limit=1000)}  {size(file.size_bytes)}" for file in files(job)]


def item_outcome(job: Job) -> Text:
    """A final item of a batch on one line; what to do about failures is said once, when the batch is through."""
    text = Text(f"{_MARKS.get(job.state, ' ')} {name(job)}  {_item_consequence(job)}")
    text.stylize(STYLES[job.state], 0, 1)
    return text


def _item_consequence(job: Job) -> str:
    if was_there(job):
        return "in the library already"
    if job.counts:
        return tally(job.counts)
    if job.failure and job.state is State.FAILED:
        return failure_lines(job.failure)[0]
    total = sum(file.size_bytes for file in files(job))
    return size(total) if total else job.state.value


def line(job: Job) -> str:
    """A running job on one line, for a log or a pipe."""
    done = percent(job)
    parts = [
        name(job),
        activity(job),
        "" if done is None else f"{done:.0f} %",
        amount(job.progress),
        speed(job.progress),
        eta(job.progress) and f"{eta(job.progress)} left",
    ]
    return "  ".join(part for part in parts if part)


def facts(job: Job) -> list[tuple[str, str]]:
    """Everything about a job, as names and values."""
    done = percent(job)
    found = [
        ("id", job.id),
        ("title", job.title or "–"),
        ("url", job.url or "–"),
        ("kind", job.kind.value),
        ("state", job.state.value if job.counts or job.waiting_for else activity(job)),
        ("waits", sentence(job)),
        *((("items", tally(job.counts)),) if job.counts else ()),
        *(("", of_items(wait)) for wait in job.items_waiting),
        (
            "progress",
            " ".join(part for part in ("" if done is None else f"{done:.1f} %", amount(job.progress)) if part),
        ),
        ("preset", job.preset),
        ("priority", str(job.priority)),
        ("attempt", str(job.attempt) if job.kind not in BATCH_KINDS else ""),
        ("submitted", moment(job.submitted_at)),
        ("started", moment(job.started_at)),
        ("finished", moment(job.finished_at)),
        *((("batch", f"{job.parent_id}, position {job.position}"),) if job.parent_id else ()),
        *(("file", f"{file.path}  {size(file.size_bytes)}  sha256 {file.sha256}") for file in files(job)),
        *((("failure", " ".join(failure_lines(job.failure))),) if job.failure else ()),
        *((("Temporal", job.links.temporal),) if job.links.temporal else ()),
    ]
    return [(label, clean(value, limit=1000)) for label, value in found if value]
