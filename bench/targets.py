"""What was measured beside what was aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import print_table


@dataclass(frozen=True)
class Figure:
    """One row. `target` is the most that is allowed, or with `at_least` the least; None is for information."""

    label: str
    seen: float
    unit: str = ""
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.seen >= self.target if self.at_least else self.seen <= self.target

    def row(self) -> tuple[str, ...]:
        bound = "" if self.target is None else f"{'≥' if self.at_least else '≤'} {self._shown(self.target)}"
        verdict = "" if self.target is None else "yes" if self.met else "NO"
        return (self.label, bound, self._shown(self.seen), verdict, self.note)

    def _shown(self, value: float) -> str:
        return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {self.unit}".rstrip()


def print_figures(title: str, figures: Sequence[Figure]) -> None:
    print_table(title, ("", "target", "seen", "met", ""), [figure.row() for figure in figures])
