"""`reelin videos`: the library."""

from __future__ import annotations

from typing import Annotated

import typer

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson
from reelin.cli.client import Client
from reelin.cli.console import print_json, say, screen
from reelin.cli.endpoint import find_endpoint
from reelin.cli.tables import print_table, videos_table


def videos(
    text: Annotated[str | None, typer.Option("-q", metavar="TEXT", help="Search in titles, uploaders, URLs.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many, the newest first.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="All, however many.")] = False,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """List the library: videos and their files, relative to the media folder."""
    most = None if everything else limit
    with Client(find_endpoint(url, token)) as client:
        found = list(client.videos({"q": text} if text else {}, limit=most))
    if as_json:
        for video in found:
            print_json(video)
    elif found:
        print_table(screen(), videos_table(found))
        if len(found) == most:
            say(f"The newest {limit}; --limit and --all show more.", stderr=True)
    else:
        say("No videos.", stderr=True)
