"""`reelin get`: submit and watch."""

from __future__ import annotations

from typing import Annotated

import typer

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson
from reelin.cli.bars import display
from reelin.cli.client import Client
from reelin.cli.console import print_json, say
from reelin.cli.describe import name
from reelin.cli.endpoint import find_endpoint
from reelin.cli.preview import show_preview, wait_for_entries
from reelin.cli.submission import options_of, read_list, submit_list
from reelin.cli.text import short_id
from reelin.cli.watch import show_until_final
from reelin.contracts.jobs import Job, Kind, State

_PLAYLISTS = "Playlists and lists"


def get(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]…", help="Pages with a video, playlists, media files.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-a", metavar="FILE", help="A list, one URL a line; # begins a comment; - is stdin."),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(help="best, 2160p, 1440p, 1080p, 720p, 480p, 360p, smallest, audio-mp3, audio-m4a or audio-opus."),
    ] = "best",
    folder: Annotated[str | None, typer.Option(help="A folder below the media folder: 'shows/news'.")] = None,
    filename: Annotated[str | None, typer.Option(help="A template: '{uploader} - {title}'.")] = None,
    format: Annotated[str | None, typer.Option(help="A yt-dlp format selector; it overrides the preset's.")] = None,
    container: Annotated[str | None, typer.Option(help="original, mp4, mkv, webm, mp3, m4a or opus.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=JSON", help="Any other field of `options`, as the API takes it; may be repeated."),
    ] = None,
    priority: Annotated[int, typer.Option(min=1, max=5, help="1 goes first, 5 last.")] = 3,
    force: Annotated[bool, typer.Option("--force", help="Download again and replace the file.")] = False,
    items: Annotated[
        str | None, typer.Option(metavar="1-10,15", help="Only these of a playlist.", rich_help_panel=_PLAYLISTS)
    ] = None,
    max_items: Annotated[
        int | None, typer.Option(min=1, help="Not more than so many.", rich_help_panel=_PLAYLISTS)
    ] = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The last goes first.", rich_help_panel=_PLAYLISTS)
    ] = False,
    only_new: Annotated[
        bool, typer.Option("--only-new", help="Without what the library has.", rich_help_panel=_PLAYLISTS)
    ] = False,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, max=500, help="So many items in flight at once.", rich_help_panel=_PLAYLISTS),
    ] = None,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="List a playlist's entries, and download nothing.", rich_help_panel=_PLAYLISTS),
    ] = False,
    skip_invalid: Annotated[
        bool,
        typer.Option("--skip-invalid", help="Leave out lines that are no URL.", rich_help_panel=_PLAYLISTS),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--detach", " /--no-wait", help="Watch until done, or only submit.")
    ] = True,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Download videos, playlists and lists, and show how far they are.

    Several URLs, or a file of them, are one job: it has one bar with its counts, and one exit code.
    The downloads are Reelin's, not this program's: Ctrl-C ends the showing and nothing else.
    Exits with 0 if every download was completed or was in the library already, else with 1.
    """
    text = read_list(urls or [], file)
    if text is None and not urls:
        raise typer.BadParameter("Give a URL, or a list with --file.", param_hint="URL")
    if text is not None and preview:
        raise typer.BadParameter("Only a playlist has a preview: give its URL alone.", param_hint="--preview")
    shape = {"folder": folder, "filename": filename, "format": format, "container": container}
    which = {"items": items, "max_items": max_items, "reverse": reverse, "only_new": only_new, "at_once": at_once}
    options = options_of(option or [], **shape, **which)
    common = {"preset": preset, "options": options, "priority": priority, "force": force}
    with Client(find_endpoint(url, token)) as client:
        if text is not None:
            job = submit_list(client, text, common, skip_invalid=skip_invalid)
        else:
            # As a playlist, so that what turns out to be one video is listed too, and not downloaded.
            looking = {"preview": True, "kind": Kind.PLAYLIST} if preview else {}
            job = client.submit({"url": (urls or [""])[0], **common, **looking})
        if preview and wait:
            job = wait_for_entries(client, job)
        if not wait:
            _submitted(job, as_json=as_json)
        elif preview and job.state is State.PAUSED:
            show_preview(client, job, as_json=as_json)
        elif not show_until_final(client, [job], display(as_json=as_json), as_json=as_json):
            raise typer.Exit(1)


def _submitted(job: Job, *, as_json: bool) -> None:
    print_json(job) if as_json else say(f"{job.state}  {short_id(job.id)}  {name(job)}")
