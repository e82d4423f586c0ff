"""`reelin up`: Temporal's server, a worker and the API, in one process group, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from reelin.api.server import ApiServer, check_exposure, listen, url_of
from reelin.embedded.folder import check_space, holding, leave_note
from reelin.embedded.ports import Port, choose_port
from reelin.embedded.server import ServerPlan, TemporalServer, find_temporal
from reelin.errors import StartupError
from reelin.library import Library
from reelin.logs import configure_logs
from reelin.process import Attention, run, spare_the_collector, stop_signal
from reelin.progress import MemoryBus
from reelin.settings import DEFAULT_PORT, Settings
from reelin.worker.crew import Crew
from reelin.worker.main import open_engine

TEMPORAL_PORT = 7233
TEMPORAL_UI_PORT = 8233


@dataclass(frozen=True, slots=True)
class Running:
    """What a person wants to know once it runs. `notes` are lines about what is not as usual."""

    url: str
    temporal_ui: str
    data_dir: Path
    media_dir: Path
    notes: tuple[str, ...] = ()


def run_up(settings: Settings, *, no_auth: bool, announce: Callable[[Running], None]) -> None:
    """Runs until SIGINT or SIGTERM. Raises StartupError."""
    check_exposure(settings, no_auth=no_auth)
    configure_logs(settings.log_level, settings.log_format)
    with holding(settings.data_dir):
        check_space(settings.data_dir)
        run(_up(settings, announce))


async def _up(settings: Settings, announce: Callable[[Running], None]) -> None:
    async with stop_signal() as stopped, _everything(settings) as running:
        leave_note(settings.data_dir, url=running.url, temporal_ui=running.temporal_ui)
        announce(running)
        spare_the_collector()
        await stopped.wait()


@contextlib.asynccontextmanager
async def _everything(settings: Settings) -> AsyncIterator[Running]:
    """Starts the parts in the order in which they lean on each other, and stops them in the opposite one."""
    async with contextlib.AsyncExitStack() as stack:
        listener, api_port = _listen(settings)
        stack.enter_context(listener)
        library = Library(settings.database_url)
        stack.push_async_callback(library.close)
        await library.open()
        temporal = TemporalServer(_plan(settings, library.installation))
        stack.push_async_callback(temporal.stop)
        starting = asyncio.create_task(temporal.start())
        stack.callback(starting.cancel)
        engine = await stack.enter_async_context(open_engine(settings))  # takes as long as Temporal: side by side
        client = await starting
        plan = temporal.plan
        bus = MemoryBus()
        attention = Attention()
        api = ApiServer(settings, client=client, library=library, bus=bus, temporal_ui=plan.ui_url, attention=attention)
        await stack.enter_async_context(api.serving(listener))
        # Stops first: whoever watches sees the jobs go back to the queue, and Temporal is there to hear of it.
        crew = Crew(settings, client=client, library=library, bus=bus, engine=engine, attention=attention)
        await stack.enter_async_context(crew.working())
        yield Running(
            url=url_of(listener),
            temporal_ui=plan.ui_url,
            data_dir=settings.data_dir,
            media_dir=settings.media_dir,
            notes=(
                *temporal.notes,
                *_notes(("the API", api_port), ("Temporal", plan.port), ("Temporal's UI", plan.ui_port)),
            ),
        )


def _plan(settings: Settings, installation: str) -> ServerPlan:
    return ServerPlan(
        program=find_temporal(),
        folder=settings.data_dir / "temporal",
        port=choose_port(TEMPORAL_PORT),
        ui_port=choose_port(TEMPORAL_UI_PORT),
        retention=timedelta(days=settings.temporal_retention_days),
        installation=installation,
    )


def _listen(settings: Settings) -> tuple[socket.socket, Port]:
    """The default port gives way to a free one; a port that was asked for does not. Raises StartupError."""
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        if settings.port != DEFAULT_PORT or "port" in settings.model_fields_set:
            raise StartupError(
                f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
                "Choose another port with --port or REELIN_PORT; 0 takes any free one."
            ) from error
        listener = listen(settings.host, 0)
    return listener, Port(listener.getsockname()[1], settings.port)


def _notes(*parts: tuple[str, Port]) -> tuple[str, ...]:
    return tuple(
        f"Port {port.wanted} is taken; {name} is on {port.number} instead." for name, port in parts if port.moved
    )
