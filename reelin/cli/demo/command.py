"""The demo, step by step."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path

import typer

from reelin.cli.client import Client
from reelin.cli.console import complain, say, screen
from reelin.cli.demo.acts import Act, Broken, bulk_list, playlist, videos
from reelin.cli.demo.service import own_service
from reelin.cli.endpoint import Endpoint, UpFile
from reelin.cli.tables import print_table, videos_table
from reelin.cli.text import plural

_ACTS: tuple[Act, ...] = (videos, playlist, bulk_list)


def demo() -> None:
    """Download real media in a temporary folder, and check every file. Needs no configuration and no internet.

    Starts `reelin up` and a small media server on this machine; downloads single videos, a playlist and a list with
    a dead link, with live progress; tries again just what failed; compares every file with its source; lists the
    library, and removes everything again. Exits with 0 only if every file is right.
    """
    # SIGTERM as Ctrl-C: what was started must be stopped, whoever ends this program.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reelin-demo-") as folder:
        n_files = _run(Path(folder))
    seconds = time.monotonic() - began
    if n_files is None:
        complain("The demo failed.")
        raise typer.Exit(1)
    say(f"{plural(n_files, 'download')}, every file right, {seconds:.1f} s. The temporary folder is gone.")


def _run(folder: Path) -> int | None:
    """How many downloads there were; None if something was not as it should be."""
    from reelin.origin.server import Origin

    say("Starting Reelin and a media server in a temporary folder …")
    with Origin(folder / "origin") as origin, own_service(folder) as up:
        with Client(Endpoint(up.url, "written by the demo's `reelin up`")) as client:
            try:
                n_files = sum(act(client, origin, folder / "data" / "media") for act in _ACTS)
            except Broken as broken:
                complain(f"✗ {broken}")
                return None
            _show_library(client)
        _show_addresses(up)
    return n_files


def _show_library(client: Client) -> None:
    say()
    say("The library: reelin videos")
    print_table(screen(), videos_table(client.videos({})))


def _show_addresses(up: UpFile) -> None:
    say()
    say("While it ran:")
    say(f"  API       {up.url}/api/jobs")
    say(f"  API docs  {up.url}/docs")
    if up.temporal_ui:
        say(f"  Temporal  {up.temporal_ui}")
