"""From whatever a route raises to problem details."""

from __future__ import annotations

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelin.api.lists import UnusableEntries, spans
from reelin.api.problems import FieldError, clipped, problem_response
from reelin.api.refusals import field_errors, models_of, refusal
from reelin.errors import Conflict, InvalidInput, NotFound, Unavailable, is_exhaustion

RETRY_AFTER_SECONDS = 5
_WHERE = {
    "job": "Check the id; GET /api/jobs lists the jobs.",
    "video": "Check the id; GET /api/videos lists the videos.",
    "file": "Check the id; GET /api/videos/{video_id} lists the video's files.",
    "site": "GET /api/sites lists the sites that are known; PATCH makes one known.",
}
_log = structlog.get_logger(__name__)


def handle_errors(app: FastAPI) -> None:
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(InvalidInput, _invalid)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(Conflict, _conflict)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(HTTPException, _http)


def unprocessable(instance: str, *errors: FieldError) -> Response:
    first = f"{errors[0].field}: {errors[0].message} {errors[0].remedy}" if errors else "The request cannot be used."
    return problem_response(422, first, instance=instance, errors=errors)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    models = models_of(request.scope.get("endpoint"))
    return unprocessable(request.url.path, *field_errors(error.errors(), models))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidInput)
    if isinstance(error, UnusableEntries):
        detail = f"{error.message} {error.remedy}"
        entries = spans(error.numbers)
        return problem_response(422, detail, instance=request.url.path, errors=error.named, entries=entries)
    return unprocessable(request.url.path, refusal(error))


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotFound)
    message = f"There is no {error.what} {clipped(error.identifier, 100)!r}."
    field = "site" if error.what == "site" else f"{error.what}_id"
    problem = FieldError(field=field, message=message, remedy=_WHERE.get(error.what, "Check the id."))
    return problem_response(404, message, instance=request.url.path, errors=[problem])


async def _conflict(request: Request, error: Exception) -> Response:
    return problem_response(409, str(error), instance=request.url.path)


async def _unavailable(request: Request, error: Exception) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    assert isinstance(error, Unavailable)
    _log.warning("a part does not answer", part=error.part, reason=error.reason)
    detail = f"{error.part} does not answer. Nothing was lost; try again."
    return problem_response(503, detail, instance=request.url.path, headers=headers)


def busy(detail: str, instance: str) -> Response:
    """It passes: try again a little later."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS), "Connection": "close"}
    return problem_response(503, detail, instance=instance, headers=headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 400:  # FastAPI's word for a body that it cannot decode
        remedy = "Send a JSON object in UTF-8."
        return unprocessable(path, FieldError(field="body", message="The body cannot be read.", remedy=remedy))
    detail = {
        404: f"There is nothing at {clipped(path, 120)}. /docs lists what there is.",
        405: f"{request.method} is not possible here. /docs lists what is.",
    }.get(error.status_code, error.detail)
    return problem_response(error.status_code, detail, instance=path, headers=error.headers)


class Unexpected:
    """Turns a fault into a problem that tells nothing of this machine, and into a log entry that tells everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            _log.exception("A request failed unexpectedly", method=scope["method"], path=clipped(scope["path"]))
            if begun:
                raise
            if is_exhaustion(error):
                detail = "Reelin has run out of files or memory. Nothing was lost; try again."
                await busy(detail, scope["path"])(scope, receive, send)
                return
            detail = "Reelin failed to answer; its log has the details. Try again."
            await problem_response(500, detail, instance=scope["path"])(scope, receive, send)
