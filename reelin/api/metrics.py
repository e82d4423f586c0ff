"""What Prometheus scrapes. Each app has a registry of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Histogram, generate_latest
from starlette.responses import Response

from reelin.api.hub import Hub
from reelin.library import Library

_SUBMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    def __init__(self, library: Library, hub: Hub) -> None:
        self._library = library
        self._hub = hub
        self._registry = CollectorRegistry()
        self._jobs = Gauge("reelin_jobs", "Jobs by state", ["state"], registry=self._registry)
        self._clients = Gauge("reelin_clients", "Connected clients", ["transport"], registry=self._registry)
        self._submit = Histogram(
            "reelin_submit_seconds",
            "From a checked submission to its commit",
            buckets=_SUBMIT_BUCKETS,
            registry=self._registry,
        )

    def submitting(self) -> AbstractContextManager[object]:
        """Measures a submission."""
        return self._submit.time()

    def router(self) -> APIRouter:
        router = APIRouter(tags=["service"])
        router.add_api_route("/metrics", self.scrape, summary="Metrics for Prometheus", response_class=Response)
        return router

    async def scrape(self) -> Response:
        """Jobs by state, connected clients, and how long submissions take."""
        for state, count in (await self._library.jobs.tally()).items():
            self._jobs.labels(state).set(count)
        clients = self._hub.clients()
        for transport in ("sse", "websocket"):
            self._clients.labels(transport).set(clients[transport])
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
