"""The connection to Temporal, as its own TEMPORAL_* variables and profiles describe it."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import SEARCH_ATTRIBUTES
from reelin.errors import StartupError
from reelin.rpc import TEMPORAL_AWAY, Refusal, Refused, classify_rpc_error, first_line
from reelin.scope import InstallationScope

DEFAULT_ADDRESS = "127.0.0.1:7233"

SEARCH_ATTRIBUTES_WITHIN_SECONDS = 90.0
_KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


async def connect(address: str | None = None, *, lazy: bool = False, installation: str | None = None) -> Client:
    """A client. With an `address`, for the server there and nothing else; without, as the environment says.

    With `lazy` it connects at the first call. With an `installation` (its id) it shares the namespace with others, none
    of which sees its work. Raises StartupError where Temporal does not answer.
    """
    config = ClientConnectConfig(target_host=address) if address else ClientConfig.load_client_connect_config()
    target = config.setdefault("target_host", DEFAULT_ADDRESS)
    plugins = [InstallationScope(installation)] if installation else []
    try:
        return await Client.connect(**config, data_converter=pydantic_data_converter, lazy=lazy, plugins=plugins)
    except RuntimeError as error:
        raise StartupError(
            f"Temporal does not answer at {target}. Start it, or use `reelin up`, which brings its own; "
            "TEMPORAL_ADDRESS names another one."
        ) from error


async def ensure_search_attributes(client: Client) -> None:
    """Registers Reelin's search attributes where they are missing. Raises StartupError if that is not allowed.

    Whether they are there is asked of visibility: not everybody may list or add them, on Temporal Cloud nobody.
    """
    lacking = await _why_unusable(client)
    if lacking is None:
        return
    if lacking.kind is not Refusal.NO_SEARCH_ATTRIBUTES:
        raise StartupError(lacking.reason)
    try:
        await _add_search_attributes(client)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:  # another worker was quicker
            raise StartupError(f"{lacking.reason} (Reelin may not: {first_line(error)})") from error
    await _until_usable(client)


async def _add_search_attributes(client: Client) -> None:
    operator = client.operator_service
    known = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    missing = {name: _KEYWORD for name in SEARCH_ATTRIBUTES if name not in known.custom_attributes}
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
    await operator.add_search_attributes(request)


async def _until_usable(client: Client) -> None:
    """A cluster's frontends may take a minute to hear of what was added. Raises StartupError."""
    deadline = asyncio.get_running_loop().time() + SEARCH_ATTRIBUTES_WITHIN_SECONDS
    while (lacking := await _why_unusable(client)) is not None:
        if asyncio.get_running_loop().time() > deadline:
            raise StartupError(lacking.reason)
        await asyncio.sleep(0.5)


async def _why_unusable(client: Client) -> Refused | None:
    try:
        await client.count_workflows(" AND ".join(f"{name} = 'none'" for name in SEARCH_ATTRIBUTES))
    except TEMPORAL_AWAY as error:
        return classify_rpc_error(error, client.namespace)
    return None
