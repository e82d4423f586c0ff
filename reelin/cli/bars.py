"""Showing jobs while they run: bars on a terminal, lines in a log or a pipe, JSON for a program.

A batch of any size is one bar or line with its counts; of its items, those that run are shown where there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from reelin.cli import describe
from reelin.cli.console import print_json, screen
from reelin.cli.text import clean
from reelin.contracts.jobs import BATCH_KINDS, Job, State

#: Lines in a log: on every change of state or phase, and otherwise not more often than this, nor, of many jobs
#: together, more often than one a second.
_LINE_SECONDS = 5.0
#: Up to so many items, each has a line when it ends; of a larger batch only those that failed, and not more of them.
_SMALL_BATCH = 50
_FAILURES = 20


class Display(Protocol):
    """Shows each newer state of jobs; a context manager, so that a terminal is left as it was found."""

    def show(self, job: Job) -> None: ...

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display(*, as_json: bool = False, console: Console | None = None) -> Display:
    """The one that fits where the output goes."""
    if as_json:
        return JsonLines()
    console = console or screen()
    return Bars(console) if console.is_interactive else Lines(console)


class _Plain:
    """A display that leaves nothing to clean up."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class JsonLines(_Plain):
    """One line for each job, when it is final."""

    def __enter__(self) -> JsonLines:
        return self

    def show(self, job: Job) -> None:
        if job.state.final:
            print_json(job)


class Batches:
    """The batches that are shown, and which ends of their items are worth a line."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._begun: dict[str, datetime] = {}
        self._failures: dict[str, int] = {}

    def note(self, job: Job) -> None:
        if job.kind in BATCH_KINDS and job.parent_id not in self._totals:
            self._totals[job.id] = job.counts.total if job.counts else 0
            self._begun[job.id] = job.submitted_at

    def holds(self, job: Job) -> bool:
        """Whether the job is shown as an item only."""
        return job.parent_id in self._totals and job.id not in self._totals

    def worth_a_line(self, item: Job) -> bool:
        batch_id = item.parent_id or ""
        if item.finished_at and item.finished_at < self._begun[batch_id]:
            return False  # it ended before what failed beside it was tried again
        if item.state is State.FAILED:
            self._failures[batch_id] = self._failures.get(batch_id, 0) + 1
            return self._failures[batch_id] <= _FAILURES
        return self._totals[batch_id] <= _SMALL_BATCH


class Lines(_Plain):
    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._batches = Batches()
        self._last: dict[str, tuple[object, float]] = {}

    def __enter__(self) -> Lines:
        return self

    def show(self, job: Job) -> None:
        self._batches.note(job)
        if self._batches.holds(job):
            if job.state.final and self._batches.worth_a_line(job):
                self._console.print(describe.item_outcome(job), soft_wrap=True)
        elif job.state.final:
            self._last.pop(job.id, None)
            self._console.print(describe.outcome(job), soft_wrap=True)
        elif self._due(job):
            self._console.print(Text(describe.line(job)), soft_wrap=True)

    def _due(self, job: Job) -> bool:
        stage = (job.state, job.phase, job.attempt, _stands_still_by(job))
        before, since = self._last.get(job.id, (None, 0.0))
        if stage == before and self._clock() - since < max(_LINE_SECONDS, len(self._last)):
            return False
        self._last[job.id] = (stage, self._clock())
        return True


def _stands_still_by(job: Job) -> object:
    """What it waits for: a line is due when that changes, and not for every moment and number in it."""
    own = job.waiting_for and (job.waiting_for.reason, job.waiting_for.message)
    return own, frozenset((wait.reason, wait.failure) for wait in job.items_waiting)


class Bars:
    """One bar for each unfinished job; a finished one leaves its outcome above them.

    Where there are more jobs than lines on the terminal, batches go first, then what runs, then what waits. Items in
    line have no bar.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(*_columns(console), console=console, transient=True, expand=True)
        self._console = console
        self._batches = Batches()
        self._tasks: dict[str, tuple[TaskID, Job]] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, job: Job) -> None:
        self._batches.note(job)
        item = self._batches.holds(job)
        if job.state.final:
            self._remove(job.id)
            self._end(job, item=item)
        elif item and job.state not in (State.RUNNING, State.WAITING):
            self._remove(job.id)
        elif job.id in self._tasks or self._make_room(job):
            self._update(job)

    def _end(self, job: Job, *, item: bool) -> None:
        if not item:
            self._progress.console.print(describe.outcome(job), soft_wrap=True)
        elif self._batches.worth_a_line(job):
            self._progress.console.print(describe.item_outcome(job), soft_wrap=True)

    def _update(self, job: Job) -> None:
        known = self._tasks.get(job.id)
        task = known[0] if known else self._progress.add_task("", total=None, job=job)
        self._tasks[job.id] = (task, job)
        done = describe.percent(job)
        self._progress.update(task, job=job, total=None if done is None else 100.0, completed=done or 0.0)

    def _make_room(self, job: Job) -> bool:
        """The terminal may have been made smaller meanwhile."""
        while len(self._tasks) >= max(1, self._console.height - 2):
            last = max(self._tasks, key=lambda job_id: _rank(self._tasks[job_id][1]))
            if _rank(job) >= _rank(self._tasks[last][1]):
                return False
            self._remove(last)
        return True

    def _remove(self, job_id: str) -> None:
        task, _ = self._tasks.pop(job_id, (None, None))
        if task is not None:
            self._progress.remove_task(task)


def _rank(job: Job) -> int:
    """The smallest keeps its bar."""
    if job.kind in BATCH_KINDS and job.parent_id is None:
        return 0
    return 1 if job.state is State.RUNNING else 2


class _JobColumn(ProgressColumn):
    """A column computed from the job, as a Text: what comes from the net is never read as markup."""

    def __init__(self, words: Callable[[Job], str], column: Column, style: str = "") -> None:
        super().__init__(column)
        self._words = words
        self._style = style

    def render(self, task: Task) -> Text:
        return Text(self._words(task.fields["job"]), style=self._style)


def _columns(console: Console) -> tuple[ProgressColumn, ...]:
    """The title gives way first when the terminal is narrow; figures are never cut. What a job is busy with, or waits
    for, may be a long sentence: it takes half of a line at most, and says how long first."""

    def activity(job: Job) -> str:
        return clean(describe.activity(job, datetime.now(UTC)), limit=max(console.width // 2, 16))

    return (
        _JobColumn(describe.name, Column(ratio=3, no_wrap=True, overflow="ellipsis", min_width=10)),
        BarColumn(bar_width=None, table_column=Column(ratio=2, min_width=6)),
        _JobColumn(_percent, Column(no_wrap=True, justify="right")),
        _JobColumn(lambda job: describe.amount(job.progress), Column(no_wrap=True, justify="right"), "green"),
        _JobColumn(lambda job: describe.speed(job.progress), Column(no_wrap=True, justify="right"), "red"),
        _JobColumn(lambda job: describe.eta(job.progress), Column(no_wrap=True, justify="right"), "cyan"),
        _JobColumn(activity, Column(no_wrap=True, overflow="ellipsis"), "dim"),
    )


def _percent(job: Job) -> str:
    done = describe.percent(job)
    return "" if done is None else f"{done:.0f} %"
