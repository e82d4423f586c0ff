"""What processes cost, from /proc: CPU seconds, and memory with shared pages divided among those who share them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reelin.engine.guard.process import GuardProcess
from reelin.engine.pool import EnginePool

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def pss_bytes(pid: int) -> int:
    """The proportional set size. Raises OSError if the process is gone."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup names no Pss")


def cpu_seconds(pid: int) -> float:
    """Of a process and of its children that have ended and been waited for. 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return sum(map(int, fields[11:15])) / _TICKS_PER_SECOND


@dataclass(frozen=True)
class Cpu:
    """CPU seconds so far. `parent` is this process: the pool's side of each channel, and the benchmark itself.

    A child that ends is waited for by the fork server, so its seconds move there: only the sum is exact then.
    """

    children: float
    fork_server: float
    guard: float
    parent: float

    @classmethod
    def of(cls, pool: EnginePool, guard: GuardProcess | None) -> Cpu:
        return cls(
            children=sum(map(cpu_seconds, child_pids(pool))),
            fork_server=cpu_seconds(pool.fork_server_pid or 0),
            guard=cpu_seconds(guard.pid) if guard else 0,
            parent=time.process_time(),
        )

    @property
    def total(self) -> float:
        return self.children + self.fork_server + self.guard + self.parent

    def since(self, before: Cpu) -> Cpu:
        return Cpu(
            self.children - before.children,
            self.fork_server - before.fork_server,
            self.guard - before.guard,
            self.parent - before.parent,
        )


def child_pids(pool: EnginePool) -> tuple[int, ...]:
    return (*pool.idle_pids, *pool.running_pids.values())


def pss_of_all(pids: Iterable[int]) -> int:
    return sum(map(pss_bytes, pids))
