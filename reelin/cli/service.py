"""`reelin up`, `serve`, `worker`: the only commands that are the service, and not a client of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelin.cli.console import say

if TYPE_CHECKING:
    from reelin.embedded.up import Running

Host = Annotated[str | None, typer.Option(help="Where the API listens. [REELIN_HOST; 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The API's port; 0 takes a free one. [REELIN_PORT]")]
DataDir = Annotated[Path | None, typer.Option(help="Database, Temporal's files, cookie jars. [REELIN_DATA_DIR]")]
MediaDir = Annotated[Path | None, typer.Option(help="Finished files. [REELIN_MEDIA_DIR; DATA_DIR/media]")]
NoAuth = Annotated[bool, typer.Option("--no-auth", help="Listen off loopback without a token. Anyone may then use it.")]


def up(
    host: Host = None, port: Port = None, data_dir: DataDir = None, media_dir: MediaDir = None, no_auth: NoAuth = False
) -> None:
    """Start everything on this machine: API, worker, Temporal. Ctrl-C stops it cleanly."""
    from reelin.embedded.up import run_up
    from reelin.settings import load_settings

    settings = load_settings(host=host, port=port, data_dir=data_dir, media_dir=media_dir)
    run_up(settings, no_auth=no_auth, announce=_announce)


def _announce(running: Running) -> None:
    for label, value in (
        ("Reelin", running.url),
        ("API docs", f"{running.url}/docs"),
        ("Temporal", running.temporal_ui),
        ("Data", str(running.data_dir)),
        ("Media", str(running.media_dir)),
    ):
        say(f"{label:<10}{value}")
    for line in (*running.notes, "Ctrl-C stops it; what is not finished goes on at the next start."):
        say(line)


def serve(host: Host = None, port: Port = None, no_auth: NoAuth = False) -> None:
    """Start the API alone, on a Temporal and a database that run elsewhere."""
    from reelin.api.server import serve as run_server
    from reelin.settings import load_settings

    run_server(load_settings(host=host, port=port), no_auth=no_auth)


def worker() -> None:
    """Start a worker alone: it downloads what Temporal hands out."""
    from reelin.settings import load_settings
    from reelin.worker.main import run_worker

    run_worker(load_settings())
