"""Showing jobs while they run: bars on a terminal, lines in a log or a pipe, JSON for a program."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from reelin.cli import describe
from reelin.cli.console import print_json, screen
from reelin.contracts.jobs import Job, State

#: Lines in a log: on every change of state or phase, and otherwise not more often than this.
_LINE_SECONDS = 5.0


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
    return Bars(console) if console.is_terminal else Lines(console)


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


class Lines(_Plain):
    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._last: dict[str, tuple[object, float]] = {}

    def __enter__(self) -> Lines:
        return self

    def show(self, job: Job) -> None:
        if job.state.final:
            self._console.print(describe.outcome(job), soft_wrap=True)
        elif self._due(job):
            self._console.print(Text(describe.line(job)), soft_wrap=True)

    def _due(self, job: Job) -> bool:
        stage = (job.state, job.phase, job.attempt)
        before, since = self._last.get(job.id, (None, 0.0))
        if stage == before and self._clock() - since < _LINE_SECONDS:
            return False
        self._last[job.id] = (stage, self._clock())
        return True


class Bars:
    """One bar for each unfinished job; a finished one leaves its outcome above them.

    Where there are more jobs than lines on the terminal, those that run go before those that wait.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(*_columns(), console=console, transient=True, expand=True)
        self._rows = max(1, console.height - 2)
        self._tasks: dict[str, tuple[TaskID, State]] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, job: Job) -> None:
        if job.state.final:
            self._remove(job.id)
            self._progress.console.print(describe.outcome(job), soft_wrap=True)
        elif job.id in self._tasks or self._make_room(job):
            self._update(job)

    def _update(self, job: Job) -> None:
        known = self._tasks.get(job.id)
        task = known[0] if known else self._progress.add_task("", total=None, job=job)
        self._tasks[job.id] = (task, job.state)
        done = describe.percent(job)
        self._progress.update(task, job=job, total=None if done is None else 100.0, completed=done or 0.0)

    def _make_room(self, job: Job) -> bool:
        if len(self._tasks) < self._rows:
            return True
        idle = next((job_id for job_id, (_, state) in self._tasks.items() if state is not State.RUNNING), None)
        if idle is None or job.state is not State.RUNNING:
            return False
        self._remove(idle)
        return True

    def _remove(self, job_id: str) -> None:
        task, _ = self._tasks.pop(job_id, (None, None))
        if task is not None:
            self._progress.remove_task(task)


class _JobColumn(ProgressColumn):
    """A column computed from the job, as a Text: what comes from the net is never read as markup."""

    def __init__(self, words: Callable[[Job], str], column: Column, style: str = "") -> None:
        super().__init__(column)
        self._words = words
        self._style = style

    def render(self, task: Task) -> Text:
        return Text(self._words(task.fields["job"]), style=self._style)


def _columns() -> tuple[ProgressColumn, ...]:
    """The title gives way first when the terminal is narrow; figures are never cut."""
    return (
        _JobColumn(describe.name, Column(ratio=3, no_wrap=True, overflow="ellipsis", min_width=10)),
        BarColumn(bar_width=None, table_column=Column(ratio=2, min_width=6)),
        _JobColumn(_percent, Column(no_wrap=True, justify="right")),
        _JobColumn(lambda job: describe.amount(job.progress), Column(no_wrap=True, justify="right"), "green"),
        _JobColumn(lambda job: describe.speed(job.progress), Column(no_wrap=True, justify="right"), "red"),
        _JobColumn(lambda job: describe.eta(job.progress), Column(no_wrap=True, justify="right"), "cyan"),
        _JobColumn(describe.activity, Column(no_wrap=True, overflow="ellipsis"), "dim"),
    )


def _percent(job: Job) -> str:
    done = describe.percent(job)
    return "" if done is None else f"{done:.0f} %"
