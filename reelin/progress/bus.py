"""One protocol, and the bus of a single process.

The bus may lose messages and never blocks: truth is in the jobs table, and every event carries enough state that
having missed all earlier ones is harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from reelin.contracts.progress import BusEvent

Listener = Callable[[BusEvent], None]


class ProgressBus(Protocol):
    def publish(self, event: BusEvent) -> None:
        """Hands the event to every listener; returns at once."""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with each event, on the event loop, until the returned function is called."""


class MemoryBus:
    """For one process in which API and worker share an event loop: a call is the whole way."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def publish(self, event: BusEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
