"""What a WebSocket client and the server say to each other. Each message has a `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from reelin.api.problems import clipped
from reelin.api.refusals import field_errors
from reelin.contracts.jobs import Job
from reelin.contracts.model import Message, Request
from reelin.errors import InvalidInput

MAX_MESSAGE_CHARACTERS = 64 * 1024
EVERYTHING = "*"
JobId = Annotated[str, Field(min_length=1, max_length=64)]


class SubscribeJob(Request):
    """`job_id` "*" stands for every job. `items`: those of a batch too."""

    type: Literal["subscribe_job"]
    job_id: JobId
    items: bool = False


class UnsubscribeJob(Request):
    type: Literal["unsubscribe_job"]
    job_id: JobId


class GetActiveJobs(Request):
    type: Literal["get_active_jobs"]


class CancelJob(Request):
    type: Literal["cancel_job"]
    job_id: JobId


class Ping(Request):
    type: Literal["ping"]


ClientMessage = SubscribeJob | UnsubscribeJob | GetActiveJobs | CancelJob | Ping
_TYPES = ("subscribe_job", "unsubscribe_job", "get_active_jobs", "cancel_job", "ping")
_client_message: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


class Connected(Message):
    type: Literal["connected"] = "connected"


class SubscriptionResponse(Message):
    type: Literal["subscription_response"] = "subscription_response"
    job_id: str
    success: bool
    message: str


class UnsubscriptionResponse(Message):
    type: Literal["unsubscription_response"] = "unsubscription_response"
    job_id: str
    success: bool
    message: str


class ActiveJobs(Message):
    """`more`: they were too many for one message, and another one follows."""

    type: Literal["active_jobs"] = "active_jobs"
    jobs: tuple[Job, ...]
    more: bool = False


class Pong(Message):
    type: Literal["pong"] = "pong"


class ErrorMessage(Message):
    type: Literal["error"] = "error"
    message: str


def parse(text: str) -> ClientMessage:
    """Raises InvalidInput."""
    if len(text) > MAX_MESSAGE_CHARACTERS:
        limit = f"{MAX_MESSAGE_CHARACTERS // 1024} KB"
        raise InvalidInput(f"The message is longer than {limit}.", remedy=f"Send at most {limit} at once.")
    try:
        return _client_message.validate_json(text)
    except ValidationError as error:
        raise _unusable(error) from error


def _unusable(error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False)[0]
    kinds = {"json_invalid": "The message is not JSON.", "union_tag_not_found": "The message has no type."}
    if first["type"] in kinds:
        return InvalidInput(kinds[first["type"]], remedy='Send a JSON object such as {"type": "ping"}.')
    if first["type"] == "union_tag_invalid":
        given = clipped(str(first.get("ctx", {}).get("tag", "")), 60)
        return InvalidInput(f"There is no message type {given!r}.", remedy=f"Use one of: {', '.join(_TYPES)}.")
    if not first["loc"]:
        return InvalidInput("The message is not a JSON object.", remedy='Send one such as {"type": "ping"}.')
    refused = field_errors([{**first, "loc": first["loc"][1:]}], {})[0]
    return InvalidInput(f"{refused.field}: {refused.message}", remedy=refused.remedy)
