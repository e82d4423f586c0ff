"""The API as one ASGI application, built from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse

from reelin import __version__
from reelin.api.actions import ActionRoutes
from reelin.api.auth import TokenGuard
from reelin.api.docs import DocsRoutes
from reelin.api.files import FileRoutes
from reelin.api.guests import GuestLimit
from reelin.api.handlers import Unexpected, handle_errors
from reelin.api.headers import SafeHeaders
from reelin.api.health import HealthRoutes
from reelin.api.hosts import HostGuard
from reelin.api.jobs import JobRoutes
from reelin.api.limits import BodyLimit
from reelin.api.metrics import Metrics
from reelin.api.openapi import ABOUT, TAGS, DescribedApi
from reelin.api.parts import Parts
from reelin.api.problems import documented
from reelin.api.shelf import ShelfRoutes
from reelin.api.sites import SiteRoutes
from reelin.api.socket import SocketRoutes
from reelin.api.stats import StatsRoutes
from reelin.api.stream import EventRoutes
from reelin.api.videos import VideoRoutes
from reelin.contracts.urls import site_of


def create_app(parts: Parts) -> FastAPI:
    """Starts and stops the hub with itself; everything else in `parts` is the caller's."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(site_of, "https://example.org/")  # reads the suffix list: not in the first request
        await parts.hub.start()
        yield
        await parts.hub.close()

    app = DescribedApi(
        title="Reelin",
        version=__version__,
        description=ABOUT,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        responses=documented(421, 500),
        lifespan=lifespan,
        middleware=[
            Middleware(SafeHeaders),
            Middleware(Unexpected),
            Middleware(HostGuard, settings=parts.settings),
            Middleware(TokenGuard, token=parts.settings.api_token),
            Middleware(BodyLimit),
            Middleware(GuestLimit, guests=parts.guests),
        ],
    )
    handle_errors(app)
    metrics = Metrics(parts.library, parts.hub)
    for routes in (
        JobRoutes(parts, metrics),
        ActionRoutes(parts),
        EventRoutes(parts),
        SocketRoutes(parts),
        VideoRoutes(parts),
        ShelfRoutes(parts),
        FileRoutes(parts),
        SiteRoutes(parts),
        HealthRoutes(parts),
        StatsRoutes(parts),
        DocsRoutes(),
        metrics,
    ):
        app.include_router(routes.router())
    app.add_api_route("/", _front, include_in_schema=False)
    return app


async def _front() -> RedirectResponse:
    return RedirectResponse("/docs")
