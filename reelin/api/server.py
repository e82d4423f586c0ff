"""The API as a running server: the app on a socket, the dispatcher and the reconciler beside it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from temporalio.client import Client

from reelin.activities import MediaFolder, SiteDesk
from reelin.api.accepting import Acceptor
from reelin.api.app import create_app
from reelin.api.dispatcher import Dispatcher
from reelin.api.guests import Guests
from reelin.api.hosts import is_loopback
from reelin.api.hub import Hub
from reelin.api.parts import Parts
from reelin.api.reconciler import Reconciler
from reelin.api.sites import limits_of
from reelin.api.status import StatusMonitor
from reelin.api.temporal_control import TemporalControl
from reelin.api.view import LinkMaker
from reelin.engine.filethreads import FileThreads
from reelin.errors import StartupError
from reelin.filelimit import open_files_limit, share
from reelin.library import Library
from reelin.logs import configure_logs
from reelin.process import Attention, in_background, run, spare_the_collector, stop_signal
from reelin.progress import MemoryBus, ProgressBus
from reelin.scope import mark_of
from reelin.settings import Settings
from reelin.temporal import connect


class ApiServer:
    """`library` and `bus` are open already; the server closes neither."""

    def __init__(
        self,
        settings: Settings,
        *,
        client: Client,
        library: Library,
        bus: ProgressBus,
        temporal_ui: str | None = None,
        attention: Attention | None = None,
    ) -> None:
        self._desk = SiteDesk(
            client=client, library=library, unlimited=settings.unlimited_sites, max_at_once=settings.site_max_at_once
        )
        self._dispatcher = Dispatcher(library, client, self._desk)
        self._reconciler = Reconciler(library, client, bus, self._dispatcher)
        links = LinkMaker(temporal_ui=temporal_ui, namespace=client.namespace, mark=mark_of(client))
        self._hub = Hub(library, bus, links)
        self._guests = Guests(share(open_files_limit(), max_downloads=settings.max_downloads))
        control = TemporalControl(client, self._dispatcher, attention or Attention())
        self._status = StatusMonitor(library, control, limits_of(settings), self._hub.stand)
        self.app = create_app(
            Parts(
                settings=settings,
                library=library,
                hub=self._hub,
                control=control,
                guests=self._guests,
                media=MediaFolder(
                    library,
                    FileThreads("media-api"),
                    media_dir=settings.media_dir,
                    scratch_dir=settings.scratch_dir,
                ),
                temporal_ui=temporal_ui,
            )
        )

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serves on `listener` while the block runs."""
        config = uvicorn.Config(
            self.app,
            loop="none",
            http="httptools",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        server = _Server(config)
        async with in_background(self._dispatcher.run, self._reconciler.run, self._status.run):
            serving = asyncio.create_task(server.serve(sockets=[]))  # connections are accepted here
            try:
                await _until_started(server, serving)
                async with in_background(Acceptor(listener, server.protocol, self._room_in(server)).run):
                    yield
            finally:
                await self._hub.close()  # ends the streams, for which the server would wait otherwise
                server.should_exit = True
                await serving

    def _room_in(self, server: _Server) -> Callable[[], bool]:
        most, connections = self._guests.limit.connections, server.server_state.connections
        return lambda: len(connections) + self._guests.files < most


class _Server(uvicorn.Server):
    """Signals belong to the program, not to the server inside it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def protocol(self) -> asyncio.Protocol:
        """What serves one connection."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


async def _until_started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            serving.result()
            raise StartupError("The API did not start; the log says why.")
        await asyncio.sleep(0.005)


def check_exposure(settings: Settings, *, no_auth: bool) -> None:
    """Off loopback the API asks for a token, unless that is waived explicitly. Raises StartupError."""
    if settings.api_token or no_auth or is_loopback(settings.host):
        return
    raise StartupError(
        f"{settings.host} can be reached by others. Set REELIN_API_TOKEN, or pass --no-auth if something in front "
        "of Reelin asks who they are."
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError where the port is taken or the host is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def serve(settings: Settings, *, no_auth: bool = False) -> None:
    """`reelin serve`: the API alone, on a Temporal that runs elsewhere. Until SIGINT or SIGTERM."""
    check_exposure(settings, no_auth=no_auth)
    configure_logs(settings.log_level, settings.log_format)
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    library = Library(settings.database_url)
    await library.open()
    try:
        # Lazy: with Temporal away, submissions are accepted all the same and start when it is back.
        client = await connect(lazy=True, installation=library.installation)
        with _listening(settings) as listener:
            api = ApiServer(settings, client=client, library=library, bus=MemoryBus())
            async with stop_signal() as stopped, api.serving(listener):
                spare_the_collector()
                await stopped.wait()
    finally:
        await library.close()


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        raise StartupError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
            "Another program may have the port: choose one with REELIN_PORT."
        ) from error
    with listener:
        yield listener
