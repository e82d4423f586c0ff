"""The child's end of its channel to the worker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Protocol

from reelin.contracts.model import Message
from reelin.engine.wire import Order, line


class Outlet(Protocol):
    """Where a running task sends its news."""

    def say(self, message: Message) -> None: ...


class Channel:
    """JSON lines. Fragment threads and the ffmpeg watcher speak at the same time as the task itself."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def orders(self) -> Iterator[Order]:
        """Until the worker closes the channel."""
        with self._connection.makefile("rb") as incoming:
            for text in incoming:
                yield Order.model_validate_json(text)

    def say(self, message: Message) -> None:
        with self._lock:
            self._connection.sendall(line(message))


class Silence:
    """For the warm-up, which nobody watches."""

    def say(self, message: Message) -> None:
        del message
