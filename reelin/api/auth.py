"""Who may speak to the API: whoever carries the token, if one is set; and no other website's scripts."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from reelin.api.problems import FieldError, problem_response

#: For EventSource, WebSocket and links to files, which cannot set a header.
PARAMETER = "access_token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class TokenGuard:
    """Guards everything below /api, WebSockets too. Without a token it is open."""

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not _guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        given = _token_of(scope)
        refused = self._refused(scope, given)
        await (refused or self._app)(scope, receive, send)

    def _refused(self, scope: Scope, given: bytes | None) -> Response | None:
        if self._token is not None and (given is None or not hmac.compare_digest(given, self._token)):
            return _unauthorized(scope["path"])
        return _foreign(scope["path"]) if _from_another_site(scope) else None


def _guarded(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def _token_of(scope: Scope) -> bytes | None:
    """The token that the request carries. It is taken out of the query: no route and no access log sees it."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in pairs if name == PARAMETER]
    if tokens:
        rest = [(name, value) for name, value in pairs if name != PARAMETER]
        scope["query_string"] = urlencode(rest).encode()
    scheme, _, credentials = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("latin-1")
    return tokens[-1].encode("utf-8", "surrogateescape") if tokens else None


def _from_another_site(scope: Scope) -> bool:
    """Whether a page of another site opens a WebSocket or changes something. Only browsers say where a request comes
    from, and only they can be made to send one that their user does not want."""
    headers = Headers(scope=scope)
    if scope["type"] != "websocket" and scope["method"] in _SAFE:
        return False
    origin = headers.get("origin")
    elsewhere = origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
    return elsewhere or headers.get("sec-fetch-site") == "cross-site"


def _unauthorized(path: str) -> Response:
    detail = "This API needs its token."
    remedy = "Send the header 'Authorization: Bearer TOKEN' with the value of REELIN_API_TOKEN, or ?access_token=."
    errors = [FieldError(field="Authorization", message=detail, remedy=remedy)]
    return problem_response(401, detail, instance=path, errors=errors, headers={"WWW-Authenticate": "Bearer"})


def _foreign(path: str) -> Response:
    detail = "A page of another site may not do this."
    remedy = "Do it from a page that this server delivers; a reverse proxy must pass the Host header on."
    errors = [FieldError(field="Origin", message=detail, remedy=remedy)]
    return problem_response(403, detail, instance=path, errors=errors)
