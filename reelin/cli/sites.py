"""`reelin sites`: how much is asked of each site, and what people allow."""

from __future__ import annotations

from typing import Annotated

import typer

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson
from reelin.cli.client import Client
from reelin.cli.console import print_json, say, screen
from reelin.cli.endpoint import find_endpoint
from reelin.cli.tables import print_table, sites_table

NO_LIMIT = "none"


def sites(
    site: Annotated[str | None, typer.Argument(metavar="SITE", help="The one to set: example.org.")] = None,
    at_once: Annotated[int | None, typer.Option(min=1, max=100, help="Downloads at once.")] = None,
    per_hour: Annotated[
        str | None, typer.Option(metavar="NUMBER", help=f"Downloads begun within an hour; {NO_LIMIT}: no limit.")
    ] = None,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """List sites and their limits, or set one's."""
    settings = _settings(at_once, per_hour)
    if (site is None) != (not settings):
        raise typer.BadParameter("Give a site together with --at-once, --per-hour or both; or nothing, to list them.")
    with Client(find_endpoint(url, token)) as client:
        found = list(client.sites()) if site is None else [client.set_site(site, settings)]
    if as_json:
        for each in found:
            print_json(each)
    elif found:
        print_table(screen(), sites_table(found))
    else:
        say("No site has a limit that was used or set.", stderr=True)


def _settings(at_once: int | None, per_hour: str | None) -> dict[str, int | None]:
    settings: dict[str, int | None] = {} if at_once is None else {"max_at_once": at_once}
    if per_hour is not None:
        settings["requests_per_hour"] = None if per_hour == NO_LIMIT else _number(per_hour)
    return settings


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"Give a number, or {NO_LIMIT}.", param_hint="--per-hour")
    return int(text)
