"""The demo, step by step."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from reelin.cli.bars import display
from reelin.cli.client import Client
from reelin.cli.console import complain, say, screen
from reelin.cli.demo.proof import Source, Wrong, prove
from reelin.cli.demo.service import own_service
from reelin.cli.describe import name
from reelin.cli.endpoint import Endpoint, UpFile
from reelin.cli.tables import print_table, videos_table
from reelin.cli.text import plural
from reelin.cli.watch import show_all
from reelin.contracts.jobs import Job

if TYPE_CHECKING:
    from reelin.origin.server import Origin

#: The clip has 1 MB: at this rate its progress can be watched.
_CLIP_BYTES_PER_SECOND = 400_000
_SEGMENT_BYTES_PER_SECOND = 150_000


def demo() -> None:
    """Download real media in a temporary folder, and check every file. Needs no configuration and no internet.

    Starts `reelin up` and a small media server on this machine, downloads a file, streams and a page's video
    with live progress, lists the library, compares every file with its source, and removes everything again.
    Exits with 0 only if every file is right.
    """
    # SIGTERM as Ctrl-C: what was started must be stopped, whoever ends this program.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reelin-demo-") as folder:
        n_files, all_right = _run(Path(folder))
    seconds = time.monotonic() - began
    if not all_right:
        complain("The demo failed.")
        raise typer.Exit(1)
    say(f"{plural(n_files, 'download')}, every file right, {seconds:.1f} s. The temporary folder is gone.")


def _run(folder: Path) -> tuple[int, bool]:
    """How many downloads there were, and whether all are right."""
    from reelin.origin.server import Origin

    say("Starting Reelin and a media server in a temporary folder …")
    with Origin(folder / "origin") as origin, own_service(folder) as up:
        sources = _sources(origin)
        with Client(Endpoint(up.url, "written by the demo's `reelin up`")) as client:
            jobs = _download(client, [origin.url + source.path for source in sources])
            _show_library(client)
            all_right = _check(client, jobs, sources, folder / "data" / "media")
        _show_addresses(up)
    return len(jobs), all_right


def _sources(origin: Origin) -> list[Source]:
    from reelin.origin.recipe import DURATION_SECONDS

    clip = origin.reference("/clip.mp4")
    return [
        Source(f"/clip.mp4?rate={_CLIP_BYTES_PER_SECOND}", content=clip),
        Source(
            f"/hls/plain/master.m3u8?seg_rate={_SEGMENT_BYTES_PER_SECOND}", duration_seconds=float(DURATION_SECONDS)
        ),
        Source("/hls/aes/master.m3u8", duration_seconds=float(DURATION_SECONDS)),
        Source("/page/meadow?title=The%20Bunny%20in%20the%20Meadow", content=clip),
    ]


def _download(client: Client, urls: Sequence[str]) -> list[Job]:
    jobs = {job.id: job for job in [client.submit({"url": url}) for url in urls]}
    show_all(client, jobs, display())
    return list(jobs.values())


def _show_library(client: Client) -> None:
    say()
    print_table(screen(), videos_table(client.videos({})))
    say()


def _check(client: Client, jobs: Sequence[Job], sources: Sequence[Source], media_dir: Path) -> bool:
    from reelin.engine.programs import find_ffmpeg

    ffmpeg = find_ffmpeg()
    all_right = True
    for job, source in zip(jobs, sources, strict=True):
        try:
            say(f"✓ {prove(client, job, source, media_dir, ffmpeg)}")
        except Wrong as wrong:
            all_right = False
            say(f"✗ {name(job)}: {wrong}")
    return all_right


def _show_addresses(up: UpFile) -> None:
    say()
    say("While it ran:")
    say(f"  API       {up.url}/api/jobs")
    say(f"  API docs  {up.url}/docs")
    if up.temporal_ui:
        say(f"  Temporal  {up.temporal_ui}")
