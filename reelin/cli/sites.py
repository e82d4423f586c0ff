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
DEFAULT = "default"


def sites(
    site: Annotated[str | None, typer.Argument(metavar="SITE", help="The one to set: example.org.")] = None,
    at_once: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help=f"Downloads at once; {NO_LIMIT}: no limit; {DEFAULT}: as Reelin is set."),
    ] = None,
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


def _settings(at_once: str | None, per_hour: str | None) -> dict[str, int | str | None]:
    settings: dict[str, int | str | None] = {}
    if at_once is not None:
        settings["max_at_once"] = DEFAULT if at_once == DEFAULT else _limit(at_once, "--at-once", (NO_LIMIT, DEFAULT))
    if per_hour is not None:
        settings["requests_per_hour"] = _limit(per_hour, "--per-hour", (NO_LIMIT,))
    return settings


def _limit(text: str, option: str, words: tuple[str, ...]) -> int | None:
    if text == NO_LIMIT:
        return None
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"Give {' or '.join(('a number', *words))}.", param_hint=option)
    return int(text)
