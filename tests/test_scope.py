"""Two installations' clients on one namespace: each sees its own workflows, and no other."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from temporalio.client import Client, OutboundInterceptor, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import DOWNLOAD_QUEUE, DOWNLOAD_WORKFLOW, PAUSE, WORKFLOW_QUEUE
from reelin.scope import _Calls, queue_name
from reelin.temporal import connect


async def _client(beside: Client) -> Client:
    return await connect(beside.service_client.config.target_host, installation=uuid.uuid4().hex)


async def _start(client: Client, job_id: str) -> WorkflowHandle[object, object]:
    return await client.start_workflow(DOWNLOAD_WORKFLOW, id=job_id, task_queue=WORKFLOW_QUEUE)


async def _running(client: Client) -> set[str]:
    return {found.id async for found in client.list_workflows("ExecutionStatus = 'Running'")}


async def test_one_id_is_two_workflows_and_each_is_reached_by_its_own_client_only(temporal: Client) -> None:
    one, two = await _client(temporal), await _client(temporal)
    job_id = f"video-{uuid.uuid4().hex}"
    started = await _start(one, job_id)
    with pytest.raises(RPCError) as unknown:
        await two.get_workflow_handle(job_id).signal(PAUSE)
    assert unknown.value.status is RPCStatusCode.NOT_FOUND
    await _start(two, job_id)
    await one.get_workflow_handle(job_id).signal(PAUSE)
    assert (await started.describe()).history_length >= 3, "the handle that came back is good too"
    assert (await one.get_workflow_handle(job_id).describe()).id.startswith(f"{job_id}@")
    await two.get_workflow_handle(job_id).terminate()
    async with asyncio.timeout(10):
        while await _running(one) != {job_id} or await _running(two) != set():
            await asyncio.sleep(0.05)  # lists lag
    assert (await one.count_workflows()).count == 1
    await started.terminate()


async def test_queues_are_apart_and_plain_where_the_server_is_our_own(temporal: Client) -> None:
    one, two = await _client(temporal), await _client(temporal)
    assert len({queue_name(client, DOWNLOAD_QUEUE) for client in (one, two, temporal)}) == 3
    assert queue_name(temporal, DOWNLOAD_QUEUE) == DOWNLOAD_QUEUE


def test_no_call_about_a_workflow_goes_to_temporal_without_the_mark() -> None:
    about = {name for name in vars(OutboundInterceptor) if "workflow" in name}
    assert len(about) >= 10
    assert about <= vars(_Calls).keys()
