"""Which entries of a playlist someone wants."""

from __future__ import annotations


class Ranges:
    """`text` as `contracts.options.check_items` took it ("1-10,15"); None is all of them. Positions count from 1."""

    def __init__(self, text: str | None) -> None:
        self._spans = None if text is None else [_span(part) for part in text.split(",")]

    def __contains__(self, index: int) -> bool:
        return self._spans is None or any(first <= index <= last for first, last in self._spans)

    @property
    def last(self) -> int | None:
        """Nothing behind it is wanted; None: there is no end."""
        return None if self._spans is None else max(last for _, last in self._spans)


def _span(part: str) -> tuple[int, int]:
    first, dash, last = part.partition("-")
    return int(first), int(last if dash else first)
