"""A submission from a request's body: JSON, or text with one URL a line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from reelin.api.submission import Submission
from reelin.errors import InvalidInput

T = TypeVar("T")
#: A longer body is read in a thread: others wait meanwhile for milliseconds, not for all of it.
_SHORT = 64 * 1024
_TYPES = "Send application/json, or text/plain with one URL a line."


async def read_submission(request: Request) -> Submission:
    """Raises RequestValidationError, InvalidInput."""
    body = await request.body()
    media_type, _, parameters = request.headers.get("content-type", "application/json").lower().partition(";")
    media_type = media_type.strip()
    if media_type == "text/plain":
        return await _read(body, lambda: _of_text(body, parameters, request))
    _refuse_parameters(request)
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        return await _read(body, lambda: _of_json(body))
    raise InvalidInput(f"A body of the type {media_type[:60]!r} cannot be read.", remedy=_TYPES, field="body")


def _refuse_parameters(request: Request) -> None:
    """They would go unheard, and someone would get `best` who had asked for `720p`."""
    for name in request.query_params:
        raise InvalidInput(
            f"The parameter {name[:60]!r} is not read beside a JSON body.",
            remedy="Put it into the JSON object; only a text/plain body has its fields in the query.",
            field=name[:60],
        )


async def _read(body: bytes, read: Callable[[], T]) -> T:
    return read() if len(body) < _SHORT else await asyncio.to_thread(read)


def _of_json(body: bytes) -> Submission:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        remedy = 'Send a JSON object such as {"url": "https://example.org/watch?v=1"}.'
        raise InvalidInput(f"The body is not JSON: {_reason(error)}.", remedy=remedy, field="body") from error
    return _validated(given)


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it is nested too deeply"


def _of_text(body: bytes, parameters: str, request: Request) -> Submission:
    charset = parameters.rpartition("charset=")[2].strip("\"' ;")
    try:
        text = body.decode("utf-8-sig") if charset in ("", "utf-8", "utf8", "us-ascii") else None
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise InvalidInput("The text is not UTF-8.", remedy="Send UTF-8, one URL a line.", field="body")
    given = _fields(request)
    # Not splitlines(): what else it takes for the end of a line would be part of a bad URL, and shift the numbers.
    return _validated({**given, "urls": text.replace("\r\n", "\n").split("\n")}).of_text()


def _fields(request: Request) -> dict[str, Any]:
    """The other fields, from the query."""
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise InvalidInput(f"The parameter {name[:60]!r} is there twice.", remedy="Give it once.", field=name)
        given[name] = value
    for name in ("url", "urls"):
        if name in given:
            remedy = f"Leave {name} out: the lines of the body are the list."
            raise InvalidInput(f"There are both a text and {name}.", remedy=remedy, field=name)
    if "options" in given:
        given["options"] = _options(given["options"])
    return given


def _options(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        remedy = 'Give a JSON object, URL-encoded, such as {"folder": "talks"}.'
        raise InvalidInput("The options are not JSON.", remedy=remedy, field="options") from error


def _validated(given: object) -> Submission:
    try:
        return Submission.model_validate(given)
    except ValidationError as error:
        found: list[Mapping[str, Any]] = [
            {**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False, include_input=False)
        ]
        raise RequestValidationError(found) from error
