"""What every answer tells a browser: not to guess its type, not to frame it, not to pass its address on."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # an address may hold the token
    "Cross-Origin-Resource-Policy": "same-site",
}
#: An answer that is no page may do nothing, should a browser ever take it for one.
NO_PAGE = "default-src 'none'; frame-ancestors 'none'; sandbox"
PAGE = "frame-ancestors 'none'"


class SafeHeaders:
    """Adds them to every answer; what a route has set itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, sending)


def _complete(headers: MutableHeaders) -> None:
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    is_page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE if is_page else NO_PAGE)
