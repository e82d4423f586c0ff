"""Errors as every client sees them: RFC 9457 problem details, each naming the field and the remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import Field
from starlette.responses import Response

from reelin.contracts.model import Message

MEDIA_TYPE = "application/problem+json"
#: What a client sent is repeated at most so far.
_LONGEST_TEXT = 240
_LONGEST_REMEDY = 800
_MOST_ERRORS = 100


class FieldError(Message):
    """`field` is a dotted name in the body, or the name of a query or path parameter."""

    field: str = Field(examples=["options.folder"])
    message: str = Field(examples=["The folder's part '..' is not allowed."])
    remedy: str = Field(examples=["Give a relative folder such as 'shows/news'."])


class Problem(Message):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[FieldError, ...] = ()
    entries: str | None = Field(
        None, description="Of a list: the numbers, from 1, of all that cannot be used", examples=["4,7-9"]
    )


def clipped(text: str, longest: int = _LONGEST_TEXT) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    entries: str | None = None,
) -> Response:
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=clipped(detail),
        instance=clipped(instance, 200),
        errors=tuple(_clipped(error) for error in errors[:_MOST_ERRORS]),
        entries=entries,
    )
    # ASCII: what a client sent comes back in it, and may be shown by a terminal.
    return Response(json.dumps(problem.model_dump(exclude_none=True)), status, headers=headers, media_type=MEDIA_TYPE)


def _clipped(error: FieldError) -> FieldError:
    return FieldError(
        field=clipped(error.field, 120),
        message=clipped(error.message),
        remedy=clipped(error.remedy, _LONGEST_REMEDY),
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    content = {MEDIA_TYPE: {"schema": _REF}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


_REF = {"$ref": "#/components/schemas/Problem"}
_MEANINGS = {
    401: "The bearer token is missing or wrong",
    404: "There is no such thing",
    409: "Its present state does not allow it",
    416: "The range lies outside the file",
    421: "The Host header names no address of this API",
    422: "What was sent cannot be used; each error names the field and the remedy",
    500: "A fault of Reelin's own; its log has the details",
    503: "A part that Reelin stands on does not answer; nothing was lost",
}
