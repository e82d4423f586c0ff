"""By which names the API may be called, as long as it asks nobody who they are.

A page of another site can make its own name resolve to this machine (DNS rebinding). To the browser it then speaks to
itself, so neither its Origin nor Sec-Fetch-Site gives it away: only the Host header still has the foreign name.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from reelin.api.problems import FieldError, clipped, problem_response
from reelin.settings import Settings

MISDIRECTED = 421
#: RFC 9110, without the forms that no client sends: user info, percent escapes, names beyond ASCII.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?")


class HostGuard:
    """Guards every path, WebSockets too. With a token it lets everything pass: a foreign page does not know the token.

    On loopback the host is a loopback address, `localhost` or one of `allowed_hosts`; off loopback also any literal
    address, which no page of a foreign name can make a browser send, and this machine's own name.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._open = settings.api_token is not None
        self._on_loopback = is_loopback(settings.host)
        own = () if self._on_loopback else (settings.host.lower(), socket.gethostname().lower())
        self._names = frozenset({"localhost", *own, *settings.allowed_hosts})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        if scope["type"] in ("http", "websocket") and not self._open:
            refused = self._refused(Headers(scope=scope).getlist("host"), scope["path"])
        await (refused or self._app)(scope, receive, send)

    def _refused(self, hosts: list[str], path: str) -> Response | None:
        if len(hosts) != 1:
            count = "no" if not hosts else "more than one"
            return _misdirected(f"The request has {count} Host header.", "Send one, with this API's address.", path)
        if self._is_ours(host_in(hosts[0])):
            return None
        message = f"This API does not answer for the host {clipped(hosts[0], 100)!r}."
        remedy = "Call it as localhost or by its address, or start it with REELIN_ALLOWED_HOSTS={} or a token."
        return _misdirected(message, remedy.format(host_in(hosts[0]) or "NAME"), path)

    def _is_ours(self, host: str | None) -> bool:
        if host is None or host in self._names:
            return host is not None
        address = _address(host)
        return address is not None and (not self._on_loopback or address.is_loopback)


def host_in(header: str) -> str | None:
    """The host of a Host header in lower case, without port, brackets and a name's last dot; None if it is none."""
    found = _HOST.fullmatch(header)
    return found[1].strip("[]").lower().removesuffix(".") or None if found else None


def is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _misdirected(message: str, remedy: str, path: str) -> Response:
    errors = [FieldError(field="Host", message=message, remedy=remedy)]
    return problem_response(MISDIRECTED, f"{message} {remedy}", instance=path, errors=errors)
