"""What the server answers, path by path."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reelin.origin import pages
from reelin.origin.content import media_type_of
from reelin.origin.delivery import Delivery
from reelin.origin.log import RequestLog
from reelin.origin.manifests import MANIFEST_SUFFIXES, Inherited, rewrite
from reelin.origin.media import Media
from reelin.origin.shaping import FaultyApp, HungUp, generation_of

#: Parameters of the pages, feeds and redirects themselves.
PAGE_PARAMETERS = frozenset({"title", "uploader", "media", "duration", "size", "name", "to", "key"})
FEED_PARAMETERS = frozenset({"items", "repeat", "odd", "loop"})
_INDEX = {
    "/clip.mp4": "a real clip, served directly; /audio.m4a, /tiny.mp4, /thumbnail.jpg too",
    "/file/200000/example.mp4": "a playable file of any size; any name is another file",
    "/hls/plain/master.m3u8": "HLS in three qualities",
    "/hls/aes/master.m3u8": "HLS, encrypted with AES-128",
    "/hls/av/master.m3u8": "HLS with separate sound and subtitles",
    "/dash/manifest.mpd": "DASH with separate sound",
    "/feed/10.rss": "a playlist of any length; ?size=, ?name=, ?title=, ?repeat=, ?odd=1, ?loop=1",
    "/feed/10.xspf": "the same as XSPF",
    "/feeds/3.rss": "a playlist of playlists; ?items=",
    "/page/example": "a page with a video and chapters; ?title=, ?uploader=, ?media=, ?duration=",
    "/plain": "a page without a video",
    "/text.txt": "not a video",
    "/login": "401",
    "/status/404": "any status",
    "/redirect?to=/clip.mp4": "leads to any URL",
    "/_log": "what was requested (GET), forget it (DELETE)",
}


def create_app(media: Media) -> tuple[ASGIApp, RequestLog]:
    """The whole server and its log."""
    site = _Site(media)
    routes = [
        Route("/", site.index),
        Route("/file/{n_bytes:int}/{name}", site.padded_file),
        Route("/feed/{n_items:int}.rss", site.feed),
        Route("/feed/{n_items:int}.xspf", site.xspf),
        Route("/feeds/{n_feeds:int}.rss", site.feed_of_feeds),
        Route("/page/{name}", site.page),
        Route("/plain", site.plain),
        Route("/text.txt", site.text),
        Route("/login", site.login),
        Route("/status/{code:int}", site.status),
        Route("/redirect", site.redirect),
        Route("/{path:path}", site.media_file),
    ]
    log = RequestLog(FaultyApp(Starlette(routes=routes)))
    return _Outermost(log), log


class _Outermost:
    """The log's own address, and the end of answers whose connection is gone."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        self._log_app = Starlette(routes=[Route("/_log", self._show, methods=["GET", "DELETE"])])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._log_app if scope["path"] == "/_log" else self._log
        try:
            await app(scope, receive, send)
        except HungUp:
            # uvicorn reports an answer that is left unfinished on a connection that is not quite gone yet.
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            # The server stops: this is the outermost frame of the task, and nobody waits for it.
            return

    async def _show(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._log.clear()
            return Response(status_code=204)
        return JSONResponse([record.as_json() for record in self._log.records()])


class _Site:
    """The endpoints."""

    def __init__(self, media: Media) -> None:
        self._media = media

    async def media_file(self, request: Request) -> ASGIApp:
        path = request.path_params["path"]
        generation = generation_of(request.scope)
        try:
            content = self._media.stored(path, generation)
        except KeyError:
            return PlainTextResponse("There is no such file.\n", 404)
        inherited = _inherited(request)
        if path.endswith(MANIFEST_SUFFIXES) and inherited:
            text = b"".join(content.chunks(0, content.n_bytes)).decode()
            return Response(rewrite(path, text, inherited), media_type=media_type_of(path))
        return Delivery(content, generation)

    async def padded_file(self, request: Request) -> ASGIApp:
        generation = generation_of(request.scope)
        try:
            content = self._media.padded(request.path_params["n_bytes"], request.path_params["name"], generation)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", 404)
        return Delivery(content, generation)

    async def feed(self, request: Request) -> Response:
        base_url, query, n_items = _base_url(request), request.query_params, request.path_params["n_items"]
        if (refusal := _refuse_no_number(request)) is not None:
            return refusal
        text = pages.feed(base_url, n_items, query, _inherited(request), own_url=str(request.url))
        return Response(text, media_type="application/rss+xml")

    async def xspf(self, request: Request) -> Response:
        base_url, query, n_items = _base_url(request), request.query_params, request.path_params["n_items"]
        if (refusal := _refuse_no_number(request)) is not None:
            return refusal
        text = pages.xspf(base_url, n_items, query, _inherited(request))
        return Response(text, media_type="application/xspf+xml")

    async def feed_of_feeds(self, request: Request) -> Response:
        if (refusal := _refuse_no_number(request)) is not None:
            return refusal
        text = pages.feed_of_feeds(_base_url(request), request.path_params["n_feeds"], request.query_params)
        return Response(text, media_type="application/rss+xml")

    async def page(self, request: Request) -> Response:
        name = request.path_params["name"]
        return HTMLResponse(pages.video_page(_base_url(request), name, request.query_params, _inherited(request)))

    async def index(self, request: Request) -> Response:
        return HTMLResponse(pages.index_page(_INDEX))

    async def plain(self, request: Request) -> Response:
        return HTMLResponse(pages.plain_page())

    async def text(self, request: Request) -> Response:
        return PlainTextResponse("This is text, not a video.\n")

    async def login(self, request: Request) -> Response:
        return PlainTextResponse("Log in first.\n", 401, {"WWW-Authenticate": 'Basic realm="origin"'})

    async def status(self, request: Request) -> Response:
        code = request.path_params["code"]
        if not 200 <= code <= 599:
            return PlainTextResponse("A status is a number from 200 to 599.\n", 400)
        retry_after = request.query_params.get("retry_after")
        headers = {"Retry-After": retry_after} if retry_after is not None else {}
        text = None if code in (204, 304) else f"Status {code} was asked for.\n"
        return PlainTextResponse(text, code, headers)

    async def redirect(self, request: Request) -> Response:
        return RedirectResponse(request.query_params.get("to", "/clip.mp4"), 302)


def _refuse_no_number(request: Request) -> Response | None:
    for name in ("size", "items", "repeat"):
        if not request.query_params.get(name, "0").isdigit():
            return PlainTextResponse(f"{name} is not a whole number\n", 400)
    return None


def _inherited(request: Request) -> Inherited:
    return Inherited(request.query_params.multi_items())


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")
