"""The connection to Temporal, as its own TEMPORAL_* variables and profiles describe it."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import SEARCH_ATTRIBUTES
from reelin.errors import StartupError

DEFAULT_ADDRESS = "127.0.0.1:7233"

#: What a call raises when Temporal is away: RPCError on a connection that was made, RuntimeError (the SDK's choice)
#: where a lazy client cannot make its first one.
TEMPORAL_AWAY = (RPCError, RuntimeError)


def first_line(error: BaseException) -> str:
    """What a client or a log line may say of it."""
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


async def connect(address: str | None = None, *, lazy: bool = False) -> Client:
    """A client. With an `address`, for the server there and nothing else; without, as the environment says.

    With `lazy` it connects at the first call. Raises StartupError where Temporal does not answer.
    """
    config = ClientConnectConfig(target_host=address) if address else ClientConfig.load_client_connect_config()
    target = config.setdefault("target_host", DEFAULT_ADDRESS)
    try:
        return await Client.connect(**config, data_converter=pydantic_data_converter, lazy=lazy)
    except RuntimeError as error:
        raise StartupError(
            f"Temporal does not answer at {target}. Start it, or use `reelin up`, which brings its own; "
            "TEMPORAL_ADDRESS names another one."
        ) from error


async def ensure_search_attributes(client: Client) -> None:
    """Registers Reelin's search attributes where they are missing. Raises StartupError if that is not allowed."""
    operator = client.operator_service
    try:
        known = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
        missing = _missing(known.custom_attributes)
        if missing:
            await operator.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise StartupError(
                f"Temporal's namespace {client.namespace} lacks the search attributes {', '.join(SEARCH_ATTRIBUTES)} "
                f"(type Keyword) and Reelin may not add them ({error.message}). Ask its operator to."
            ) from error


def _missing(known: Mapping[str, IndexedValueType.ValueType]) -> dict[str, IndexedValueType.ValueType]:
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return {name: keyword for name in SEARCH_ATTRIBUTES if name not in known}
