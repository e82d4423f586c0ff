"""What every benchmark needs: a service of its own, a media server in a process of its own, and a table to print."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from reelin.cli.demo.service import own_service
from reelin.origin.process import OriginProcess

console = Console(width=110)


@dataclass(frozen=True)
class Bench:
    """`url` is where the service answers; `origin` serves the media. Both on loopback, on the same cores.

    `pid` is the service's process, API and worker; `data_dir` has its databases.
    """

    url: str
    origin: OriginProcess
    pid: int
    data_dir: Path


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Bench]:
    """A fresh service and media server for the length of the block. `settings` are environment variables."""
    console.print("starting a service in a temporary folder …", style="dim")
    with (
        tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder,
        OriginProcess(Path(folder) / "origin") as origin,
        own_service(Path(folder), **settings) as up,
    ):
        yield Bench(url=up.url, origin=origin, pid=up.pid, data_dir=Path(folder) / "data")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(percent * 10) // 1000) - 1))]


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {sys.platform}", style="dim")
