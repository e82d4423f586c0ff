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
        """Hands the event to every listener of the process; returns at once, whoever may be watching."""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with each event, on the event loop, until the returned function is called.

        The caller is whoever publishes, a worker in the middle of a download: a listener that has more to do than to
        take note (see `Slots`) does it in a task of its own.
        """


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
