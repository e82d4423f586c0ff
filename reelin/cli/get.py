"""`reelin get`: submit and watch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from reelin.cli.arguments import ApiToken, ApiUrl, AsJson
from reelin.cli.bars import display
from reelin.cli.client import Client
from reelin.cli.console import complain, print_json, say
from reelin.cli.describe import name
from reelin.cli.endpoint import find_endpoint
from reelin.cli.problems import ApiProblem
from reelin.cli.text import short_id
from reelin.cli.watch import show_until_final
from reelin.contracts.jobs import Job


def get(
    urls: Annotated[list[str], typer.Argument(metavar="URL…", help="Pages with a video, or media files.")],
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
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Watch until done, or only submit.")] = True,
    as_json: AsJson = False,
    url: ApiUrl = None,
    token: ApiToken = None,
) -> None:
    """Download videos, and show how far they are.

    The downloads are Reelin's, not this program's: Ctrl-C ends the showing and nothing else.
    Exits with 0 if every download was completed, else with 1.
    """
    options = _options(option or [], folder=folder, filename=filename, format=format, container=container)
    common = {"preset": preset, "options": options, "priority": priority, "force": force}
    with Client(find_endpoint(url, token)) as client:
        jobs, refused = submit_all(client, urls, common)
        if wait:
            done = show_until_final(client, jobs, display(as_json=as_json))
        else:
            done = True
            _submitted(jobs, as_json=as_json)
    raise typer.Exit(0 if done and not refused else 1)


def submit_all(client: Client, urls: Sequence[str], common: dict[str, object]) -> tuple[list[Job], int]:
    """The jobs, each once, and how many URLs were refused. One bad URL does not stop the others."""
    jobs: dict[str, Job] = {}
    refused = 0
    for url in urls:
        try:
            job = client.submit({"url": url, **common})
        except ApiProblem as problem:
            refused += 1
            complain(f"✗ {url}", *(f"    {line}" for line in problem.lines))
        else:
            jobs[job.id] = job
    return list(jobs.values()), refused


def _submitted(jobs: Sequence[Job], *, as_json: bool) -> None:
    for job in jobs:
        if as_json:
            print_json(job)
        else:
            say(f"{job.state}  {short_id(job.id)}  {name(job)}")


def _options(pairs: Sequence[str], **given: str | None) -> dict[str, Any]:
    """What was given by name wins over the same field in `pairs`."""
    options = dict(_pair(text) for text in pairs)
    return options | {field: value for field, value in given.items() if value is not None}


def _pair(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        raise typer.BadParameter(f"{text!r} is not NAME=JSON, such as max_bytes=1000000.", param_hint="--option")
    try:
        return field.strip(), json.loads(value)
    except ValueError:
        return field.strip(), value  # a bare word is a string: cookies=work
