"""Sites: how many downloads each one gets at once, who waits for it, and what it complained of."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Query
from pydantic import Field, PlainValidator, WithJsonSchema, model_validator
from starlette.responses import Response

from reelin.api.examples import SITE, SITE_PAGE, answered
from reelin.api.parts import Parts
from reelin.api.routes import Route, router_of
from reelin.contracts.failures import FailureKind
from reelin.contracts.model import Message, Request
from reelin.contracts.sites import NO_LIMIT, Configure
from reelin.contracts.urls import check_url, site_of
from reelin.errors import InvalidInput, Unavailable
from reelin.library import SiteRecord
from reelin.settings import Settings

_log = structlog.get_logger(__name__)

MOST_AT_ONCE = 100
MOST_REQUESTS_PER_HOUR = 1_000_000
DEFAULT: Literal["default"] = "default"
#: A limit may be set for whatever a URL can name.
_ANYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


class Site(Message):
    site: str
    max_at_once: int | None = Field(description="null: no limit until it complains")
    max_at_once_is_default: bool = Field(description="Nobody has set it: Reelin's settings say it")
    requests_per_hour: int | None = Field(description="null: no limit")
    in_use: int = Field(description="Downloads that have its leave just now")
    waiting: int = Field(description="Downloads that stand in line")
    cooldown_until: datetime | None = Field(description="Nothing is fetched from it before")
    reason: FailureKind | None = Field(description="What it complained of, until it is open again")


class SitePage(Message):
    items: tuple[Site, ...]
    next_cursor: str | None


class SiteQuery(Request):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=1000, description="next_cursor of the page before")


def _check_at_once(value: Any) -> int | Literal["default"] | None:
    """Raises InvalidInput: one sentence, where a union would have one for each of its members."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is None or value == DEFAULT or (whole and 1 <= value <= MOST_AT_ONCE):
        return value  # type: ignore[no-any-return]
    raise InvalidInput(
        "It is not a number of downloads that can be allowed at once.",
        remedy=f'Give a whole number from 1 to {MOST_AT_ONCE}, null for no limit, or "{DEFAULT}".',
    )


class SiteSettings(Request):
    """What is left out stays as it is."""

    max_at_once: Annotated[
        int | Literal["default"] | None,
        PlainValidator(_check_at_once),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": MOST_AT_ONCE},
                    {"const": DEFAULT, "type": "string"},
                    {"type": "null"},
                ]
            }
        ),
    ] = Field(
        DEFAULT,
        description="Downloads at once; null: no limit until it complains; "
        f'"{DEFAULT}": as if nobody had set it (REELIN_SITE_MAX_AT_ONCE, REELIN_UNLIMITED_SITES)',
        examples=[4],
    )
    requests_per_hour: int | None = Field(
        None, ge=1, le=MOST_REQUESTS_PER_HOUR, description="Downloads begun within an hour; null: no limit"
    )

    @model_validator(mode="after")
    def _something(self) -> SiteSettings:
        if not self.model_fields_set:
            raise InvalidInput(
                "There is nothing to set.", remedy="Give max_at_once, requests_per_hour or both.", field="body"
            )
        return self


class SiteRoutes:
    def __init__(self, parts: Parts) -> None:
        self._sites = parts.library.sites
        self._control = parts.control
        self._at_once_of = limits_of(parts.settings)

    def router(self) -> APIRouter:
        page, site = {200: answered(SITE_PAGE, "One page")}, {200: answered(SITE, "The site")}
        return router_of(
            "/api/sites",
            "sites",
            Route("GET ", self.page, "List sites", problems=(401, 422), answers=page, model=SitePage),
            Route("GET /{site}", self.look, "One site", problems=(401, 404, 422), answers=site, model=Site),
            Route(
                "PATCH /{site}",
                self.configure,
                "Say how much may be asked of a site",
                problems=(401, 422, 503),
                answers={200: answered(SITE, "What applies from now on")},
                model=Site,
            ),
        )

    async def page(self, query: Annotated[SiteQuery, Query()]) -> Response:
        """By name: those from which something was fetched under a limit, and those for which somebody set one."""
        found = await self._sites.page(limit=query.limit, cursor=query.cursor)
        page = SitePage(items=tuple(self._view(record) for record in found.items), next_cursor=found.next_cursor)
        return Response(page.model_dump_json(), media_type="application/json")

    async def look(self, site: str) -> Response:
        """`in_use` and `waiting` are counted now; what it complained of is at most a second old."""
        return self._answer(await self._sites.get(site))

    async def configure(self, site: str, settings: SiteSettings) -> Response:
        """Applies at once, to whoever is in line too. A site need not be known yet."""
        _check_site(site)
        record = await self._sites.configure(site, **_stored(settings))
        wanted = Configure(max_at_once=record.max_at_once, requests_per_hour=record.requests_per_hour)
        try:
            await self._control.configure_site(site, wanted)
        except Unavailable as error:
            # It stands in the row: the site's workflow reads it when it starts, and whenever it writes.
            _log.warning("A site's settings wait for Temporal", site=site, reason=error.reason, action="configure")
        return self._answer(record)

    def _answer(self, record: SiteRecord) -> Response:
        return Response(self._view(record).model_dump_json(), media_type="application/json")

    def _view(self, record: SiteRecord) -> Site:
        until = record.cooldown_until
        return Site(
            site=record.site,
            max_at_once=self._at_once_of(record),
            max_at_once_is_default=record.max_at_once is None,
            requests_per_hour=record.requests_per_hour,
            in_use=record.in_use,
            waiting=record.waiting,
            cooldown_until=until if until is not None and until > datetime.now(UTC) else None,
            reason=FailureKind(record.reason) if record.reason else None,
        )


def limits_of(settings: Settings) -> Callable[[SiteRecord], int | None]:
    """How many downloads at once a site allows; None: no limit until it complains."""
    unlimited = frozenset(settings.unlimited_sites)

    def at_once_of(record: SiteRecord) -> int | None:
        at_once = record.max_at_once or settings.site_max_at_once
        return None if (record.site in unlimited and not record.limited) or at_once >= NO_LIMIT else at_once

    return at_once_of


def _stored(settings: SiteSettings) -> dict[str, int | None]:
    """What was given, as the row and the site's workflow have it."""
    values = settings.model_dump(exclude_unset=True)
    if "max_at_once" in values:
        values["max_at_once"] = {DEFAULT: None, None: NO_LIMIT}.get(values["max_at_once"], values["max_at_once"])
    return values


def _check_site(site: str) -> None:
    """Raises InvalidInput."""
    try:
        found = site_of(check_url(f"http://[{site}]/" if ":" in site else f"http://{site}/", allowed=_ANYWHERE))
    except InvalidInput:
        found = ""
    if found != site or len(site) > 253:
        hint = f"Did you mean {found}?" if found not in ("", site) else "Give one such as example.org."
        raise InvalidInput(
            f"{site[:80]!r} is not a site.",
            remedy=f"A site is a registrable domain, or the bare host of an address. {hint}",
            field="site",
        )
