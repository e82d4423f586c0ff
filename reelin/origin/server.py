"""uvicorn on a thread of its own, that can be stopped at once however many downloads are under way."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reelin.origin.any_origin import AnyOrigin
from reelin.origin.app import create_app
from reelin.origin.log import RequestRecord
from reelin.origin.media import Media

HOST = "127.0.0.1"
_START_SECONDS = 10
_KEEP_ALIVE_SECONDS = 30
# A dropped answer is no error here, and the logs of another uvicorn in this process must stay what they are.
_logger = logging.getLogger("reelin.origin")
_logger.addHandler(logging.NullHandler())


class Origin(AnyOrigin):
    """The server on a thread of this process."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder, port=port)
        self._running: _Running | None = None

    @property
    def url(self) -> str:
        return self._now.url

    @property
    def log(self) -> list[RequestRecord]:
        return self._now.log.records()

    def clear_log(self) -> None:
        self._now.log.clear()

    def start(self) -> None:
        self._running = _Running(self.media, self._asked_port)

    def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    @property
    def _now(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the origin is not started")
        return self._running


class _Running:
    """From start to stop."""

    def __init__(self, media: Media, port: int) -> None:
        app, self.log = create_app(media)
        listener = listen(port)
        self.url = url_of(listener)
        self._server = OriginServer(app)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="origin", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            raise RuntimeError("the origin did not start")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


def listen(port: int) -> socket.socket:
    """A listening socket: who has its URL can connect, even before the loop runs."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(2048)
    return listener


def url_of(listener: socket.socket) -> str:
    return f"http://{HOST}:{listener.getsockname()[1]}"


class OriginServer(uvicorn.Server):
    """Hangs up when it is told to exit, instead of waiting for answers that may never end."""

    def __init__(self, app: ASGIApp) -> None:
        self.ready = threading.Event()
        super().__init__(
            uvicorn.Config(
                app,
                http=OriginProtocol,
                ws="none",
                lifespan="off",
                loop="uvloop",
                log_config=None,
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=1,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # so that the answers end because their connection is gone, which is no error
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)


class OriginProtocol(HttpToolsProtocol):
    """Hands the connection to the app, which has to notice and to cause its end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _logger
        self.access_log = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["connection"] = self.transport
