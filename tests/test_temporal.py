"""What Temporal's refusals mean, and namespaces that lack what Reelin needs."""

from __future__ import annotations

import asyncio
import subprocess
import uuid

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import SEARCH_ATTRIBUTES
from reelin.embedded.server import find_temporal
from reelin.errors import StartupError
from reelin.rpc import TEMPORAL_AWAY, Refusal, Refused, classify_rpc_error
from reelin.temporal import ensure_search_attributes


def refusal(status: RPCStatusCode, said: str = "no") -> RPCError:
    return RPCError(said, status, b"")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (RPCStatusCode.UNAVAILABLE, Refusal.AWAY),
        (RPCStatusCode.DEADLINE_EXCEEDED, Refusal.AWAY),
        (RPCStatusCode.INTERNAL, Refusal.AWAY),
        (RPCStatusCode.RESOURCE_EXHAUSTED, Refusal.BUSY),
        (RPCStatusCode.PERMISSION_DENIED, Refusal.FORBIDDEN),
        (RPCStatusCode.UNAUTHENTICATED, Refusal.FORBIDDEN),
        (RPCStatusCode.NOT_FOUND, Refusal.NO_NAMESPACE),
        (RPCStatusCode.INVALID_ARGUMENT, Refusal.BAD_REQUEST),
    ],
)
def test_each_status_is_a_refusal_in_one_line(status: RPCStatusCode, kind: Refusal) -> None:
    refused = classify_rpc_error(refusal(status, "no\nand a stack"), "films")
    assert refused.kind is kind
    assert "no" in refused.reason and "\n" not in refused.reason
    assert 1 <= refused.longest_wait_seconds <= 60


def test_no_connection_at_all_is_a_temporal_that_is_away() -> None:
    assert classify_rpc_error(RuntimeError("failed to connect"), "films").kind is Refusal.AWAY


@pytest.fixture
async def bare(temporal: Client) -> Client:
    """A client of a namespace without Reelin's search attributes."""
    day, name = Duration(), f"bare-{uuid.uuid4().hex[:8]}"
    day.FromSeconds(86_400)
    await temporal.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=day)
    )
    client = _in_namespace(temporal, name)
    async with asyncio.timeout(30):
        while (await _refusal_of_start(client)).kind is Refusal.NO_NAMESPACE:  # it is not known everywhere at once
            await asyncio.sleep(0.1)
    return client


def _in_namespace(client: Client, name: str) -> Client:
    config = client.config()
    config["namespace"] = name
    return Client(**config)


async def _refusal_of_start(client: Client, argument: str = "", *, attributes: bool = True) -> Refused:
    name = SearchAttributeKey.for_keyword(SEARCH_ATTRIBUTES[0])
    with pytest.raises(TEMPORAL_AWAY) as raised:
        await client.start_workflow(
            "Any",
            argument,
            id="any",
            task_queue="any",
            search_attributes=TypedSearchAttributes([SearchAttributePair(name, "x")] if attributes else []),
        )
    return classify_rpc_error(raised.value, client.namespace)


async def test_what_the_server_says_is_understood(temporal: Client, bare: Client) -> None:
    nowhere = await _refusal_of_start(_in_namespace(temporal, "nowhere"))
    assert nowhere.kind is Refusal.NO_NAMESPACE
    assert "nowhere" in nowhere.reason and "TEMPORAL_NAMESPACE" in nowhere.reason
    lacking = await _refusal_of_start(bare)
    assert lacking.kind is Refusal.NO_SEARCH_ATTRIBUTES
    huge = await _refusal_of_start(temporal, "x" * 2_100_000, attributes=False)
    assert huge.kind is Refusal.BAD_REQUEST


async def test_missing_search_attributes_are_added_and_then_they_can_be_used(bare: Client) -> None:
    await ensure_search_attributes(bare)
    assert (await bare.count_workflows(f"{SEARCH_ATTRIBUTES[-1]} = 'x'")).count == 0
    await ensure_search_attributes(bare)


@pytest.fixture
def no_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Temporal Cloud, or for a client that may work and not operate."""

    def refuse(*_: object) -> None:
        raise refusal(RPCStatusCode.PERMISSION_DENIED, "Request unauthorized.")

    monkeypatch.setattr(Client, "operator_service", property(refuse))


@pytest.mark.usefixtures("no_operator")
async def test_attributes_that_are_there_need_no_operator(temporal: Client) -> None:
    await ensure_search_attributes(temporal)


@pytest.mark.usefixtures("no_operator")
async def test_attributes_that_are_missing_and_may_not_be_added_are_one_line_with_the_command(bare: Client) -> None:
    with pytest.raises(StartupError) as raised:
        await ensure_search_attributes(bare)
    said = str(raised.value)
    assert "\n" not in said and "unauthorized" in said
    command = said.partition("Make them: temporal ")[2].partition(" (")[0].split()
    address = bare.service_client.config.target_host
    done = await asyncio.to_thread(
        subprocess.run, [find_temporal(), *command, "--address", address], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    await ensure_search_attributes(bare)


async def test_a_namespace_that_does_not_exist_is_one_line_when_a_worker_starts(temporal: Client) -> None:
    with pytest.raises(StartupError, match="operator namespace create --namespace nowhere"):
        await ensure_search_attributes(_in_namespace(temporal, "nowhere"))
