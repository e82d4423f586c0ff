"""A table of routes: what stands at which address, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from reelin.api.problems import documented

Documented = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """`call` is "METHOD path". `answers` are `answered(…)` by status, of which `status` is the usual one; `problems`
    are the statuses of what may come instead."""

    call: str
    endpoint: Callable[..., Any]
    summary: str
    problems: tuple[int, ...]
    answers: Mapping[int, Documented] = field(default_factory=dict)
    model: type[BaseModel] | None = None
    status: int = 200
    takes: dict[str, Any] | None = None


def router_of(prefix: str, tag: str, *routes: Route) -> APIRouter:
    router = APIRouter(prefix=prefix, tags=[tag])
    for route in routes:
        method, _, path = route.call.partition(" ")
        answers: dict[int | str, Documented] = {status: route.answers[status] for status in route.answers}
        router.add_api_route(
            path,
            route.endpoint,
            methods=[method],
            status_code=route.status,
            summary=route.summary,
            response_model=route.model,
            responses={**answers, **documented(*route.problems)},
            openapi_extra=route.takes,
        )
    return router
