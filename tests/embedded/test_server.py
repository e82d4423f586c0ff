"""The Temporal server that Reelin brings along."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from reelin.embedded.ports import choose_port
from reelin.embedded.server import ServerPlan, TemporalServer, find_temporal
from reelin.errors import StartupError
from reelin.temporal import connect, ensure_search_attributes
from tests.waiting import PATIENCE, eventually


def plan_in(folder: Path) -> ServerPlan:
    return ServerPlan(find_temporal(), folder, choose_port(0), choose_port(0))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    made = TemporalServer(plan_in(tmp_path))
    yield made
    await made.stop()


async def _healthy(client: Client) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if await client.service_client.check_health():
                    return
            except Exception:  # noqa: BLE001 - whatever the client makes of a server that is not there yet
                await asyncio.sleep(0.05)


async def _retention(client: Client) -> timedelta:
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    return described.config.workflow_execution_retention_ttl.ToTimedelta()


async def test_it_starts_with_its_search_attributes_and_keeps_history_for_a_week(server: TemporalServer) -> None:
    client = await server.start()
    await ensure_search_attributes(client)
    assert await _retention(client) == timedelta(days=7)


async def test_another_retention_applies_to_a_namespace_that_is_there_already(server: TemporalServer) -> None:
    await server.start()
    await server.stop()
    again = TemporalServer(replace(server.plan, retention=timedelta(days=3)))
    try:
        assert await _retention(await again.start()) == timedelta(days=3)
    finally:
        await again.stop()


async def test_a_server_that_dies_is_started_again_at_the_same_address(server: TemporalServer) -> None:
    client = await server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while not server.restarts:
        await asyncio.sleep(0.01)
    await _healthy(client)
    assert server.restarts == 1


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_the_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.embedded.test_server import TemporalServer, plan_in\n"
        "async def main():\n"
        "    server = TemporalServer(plan_in(Path(sys.argv[1])))\n"
        "    await server.start()\n"
        "    sys.stdout.write(f'{server.pid}\\n'); sys.stdout.flush()\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout is not None
    pid = int(await starter.stdout.readline())
    starter.kill()
    await starter.wait()
    await eventually(lambda: not _runs(pid), "Temporal's server outlived the one that started it")


async def test_a_server_that_cannot_start_is_one_clear_line(tmp_path: Path) -> None:
    script = tmp_path / "temporal"
    script.write_text("#!/bin/sh\necho 'error: not today'\nexit 1\n")
    script.chmod(0o755)
    server = TemporalServer(replace(plan_in(tmp_path), program=script))
    with pytest.raises(StartupError, match=r"not today.*server\.log") as raised:
        await server.start()
    assert "\n" not in str(raised.value)


async def test_a_port_that_was_taken_meanwhile_is_replaced_and_its_holder_left_alone(
    server: TemporalServer, tmp_path: Path
) -> None:
    first = await server.start()
    plan = ServerPlan(find_temporal(), tmp_path / "second", server.plan.port, server.plan.ui_port)
    second = TemporalServer(plan)
    try:
        client = await second.start()
        assert second.plan.port.number != server.plan.port.number
        assert second.restarts == 0
        assert client.service_client.config.target_host != first.service_client.config.target_host
    finally:
        await second.stop()
    await _healthy(first)


async def test_a_server_that_panics_for_want_of_its_port_gets_another(tmp_path: Path) -> None:
    """As it does when the port is taken between its own look and its listening: the last words are a stack then."""
    script = tmp_path / "temporal"
    script.write_text(
        "#!/bin/sh\n"
        f'[ -e {tmp_path}/second ] && exec {find_temporal()} "$@"\n'
        f"touch {tmp_path}/second\n"
        "echo 'listen tcp 127.0.0.1:7233: bind: address already in use'\n"
        "echo 'panic: nil'\necho 'main.go:18 +0x8e'\nexit 2\n"
    )
    script.chmod(0o755)
    server = TemporalServer(replace(plan_in(tmp_path), program=script))
    try:
        await _healthy(await server.start())
    finally:
        await server.stop()


async def test_an_address_where_no_temporal_answers_is_one_clear_line() -> None:
    with pytest.raises(StartupError, match="reelin up"):
        await connect(f"127.0.0.1:{choose_port(0).number}")
