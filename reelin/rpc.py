"""What Temporal's answers mean to whoever asked for something."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from temporalio.service import RPCError, RPCStatusCode

from reelin.contracts.work import SEARCH_ATTRIBUTES

#: What a call raises when Temporal is away: RPCError on a connection that was made, RuntimeError (the SDK's choice)
#: where a lazy client cannot make its first one.
TEMPORAL_AWAY = (RPCError, RuntimeError)


def first_line(error: BaseException) -> str:
    """What a client or a log line may say of it."""
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


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
    # No detail tells this from what is wrong with one job, such as a value that is too long.
    said = error.message.lower()
    lacking = "search attribute" in said and "size limit" not in said
    return Refusal.NO_SEARCH_ATTRIBUTES if kind is Refusal.BAD_REQUEST and lacking else kind


def _command_for_search_attributes(namespace: str) -> str:
    names = " ".join(f"--name {name} --type Keyword" for name in SEARCH_ATTRIBUTES)
    return f"temporal operator search-attribute create --namespace {namespace} {names}"
