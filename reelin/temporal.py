"""The connection to Temporal, as its own TEMPORAL_* variables and profiles describe it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import SEARCH_ATTRIBUTES
from reelin.errors import StartupError
from reelin.scope import InstallationScope

DEFAULT_ADDRESS = "127.0.0.1:7233"

#: What a call raises when Temporal is away: RPCError on a connection that was made, RuntimeError (the SDK's choice)
#: where a lazy client cannot make its first one.
TEMPORAL_AWAY = (RPCError, RuntimeError)

SEARCH_ATTRIBUTES_WITHIN_SECONDS = 90.0
_KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


def first_line(error: BaseException) -> str:
    """What a client or a log line may say of it."""
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


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


class Refusal(StrEnum):
    """Why Temporal does not do what it is asked to. All but the last one hold for every job alike."""

    AWAY = "away"  #: It does not answer, or says that it cannot just now.
    BUSY = "busy"  #: Over its limits; it asks to be asked less.
    FORBIDDEN = "forbidden"  #: Its credentials are missing, or do not allow it.
    NO_NAMESPACE = "no_namespace"  #: The namespace does not exist, or cannot be used.
    NO_SEARCH_ATTRIBUTES = "no_search_attributes"  #: The namespace lacks Reelin's.
    BAD_REQUEST = "bad_request"  #: This one request; asking again is of no use.


@dataclass(frozen=True, slots=True)
class Refused:
    """`reason` is one line that says what to do, for the log and `/readyz`."""

    kind: Refusal
    reason: str

    @property
    def longest_wait_seconds(self) -> float:
        """The interval between two tries grows up to this. Where a person has to act, Temporal is not pestered."""
        return 5.0 if self.kind is Refusal.AWAY else 60.0


def classify_rpc_error(error: BaseException, namespace: str) -> Refused:
    """What a call's TEMPORAL_AWAY means, asked in this namespace."""
    said = first_line(error)
    kind = _kind_of(error)
    reasons = {
        Refusal.AWAY: f"Temporal does not answer ({said}).",
        Refusal.BUSY: f"Temporal is over its limits ({said}). Reelin asks less often.",
        Refusal.FORBIDDEN: f"Temporal does not allow it ({said}). Check TEMPORAL_API_KEY or the TLS certificate, and "
        f"what they may do in the namespace {namespace}.",
        Refusal.NO_NAMESPACE: f"Temporal's namespace {namespace} cannot be used ({said}). Check TEMPORAL_NAMESPACE, or "
        f"make it: temporal operator namespace create --namespace {namespace} --retention 7d",
        Refusal.NO_SEARCH_ATTRIBUTES: f"Temporal's namespace {namespace} lacks search attributes ({said}). Make them: "
        f"{_command_for_search_attributes(namespace)}",
        Refusal.BAD_REQUEST: f"Temporal refuses this ({said}).",
    }
    return Refused(kind, reasons[kind])


_KINDS = {
    RPCStatusCode.RESOURCE_EXHAUSTED: Refusal.BUSY,
    RPCStatusCode.PERMISSION_DENIED: Refusal.FORBIDDEN,
    RPCStatusCode.UNAUTHENTICATED: Refusal.FORBIDDEN,
    RPCStatusCode.NOT_FOUND: Refusal.NO_NAMESPACE,  # to whoever starts something; else it is the workflow
    RPCStatusCode.FAILED_PRECONDITION: Refusal.NO_NAMESPACE,  # it is deleted, deprecated or active elsewhere
    RPCStatusCode.INVALID_ARGUMENT: Refusal.BAD_REQUEST,
    RPCStatusCode.OUT_OF_RANGE: Refusal.BAD_REQUEST,
}


def _kind_of(error: BaseException) -> Refusal:
    if not isinstance(error, RPCError):
        return Refusal.AWAY
    kind = _KINDS.get(error.status, Refusal.AWAY)
    # No detail tells this from what is wrong with one job.
    lacking = kind is Refusal.BAD_REQUEST and "search attribute" in error.message.lower()
    return Refusal.NO_SEARCH_ATTRIBUTES if lacking else kind


def _command_for_search_attributes(namespace: str) -> str:
    names = " ".join(f"--name {name} --type Keyword" for name in SEARCH_ATTRIBUTES)
    return f"temporal operator search-attribute create --namespace {namespace} {names}"


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
