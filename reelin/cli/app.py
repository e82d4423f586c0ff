"""The commands, in the order in which `reelin --help` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from reelin import __version__
from reelin.cli.actions import cancel, pause, priority, resume, retry
from reelin.cli.adopt import adopt
from reelin.cli.arguments import examples
from reelin.cli.demo.command import demo
from reelin.cli.doctor import doctor
from reelin.cli.get import get
from reelin.cli.info import info
from reelin.cli.jobs import ls, show
from reelin.cli.service import serve, up, worker
from reelin.cli.sites import sites
from reelin.cli.videos import videos
from reelin.cli.watch import watch

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("reelin up", "reelin get https://example.org/watch/1", "reelin ls --state failed"),
)
_DOWNLOADS, _SERVICE = "Downloads", "Service"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reelin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Download video so that nothing is ever lost."""


app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin get https://example.org/watch/1",
        "reelin get --preset 720p --folder shows/news https://example.org/a https://example.org/b",
        """reelin get --option 'subtitles={"languages": ["en"]}' https://example.org/watch/1""",
        "reelin get --file list.txt",
        "reelin get --only-new --max-items 20 https://example.org/list/7",
        "reelin get --preview https://example.org/list/7",
        "grep -o 'https://[^ ]*' notes.txt | reelin get --skip-invalid --detach --file -",
    ),
)(get)
app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin info https://example.org/watch/1", "reelin info --json https://example.org/watch/1 | jq .result.formats"
    ),
)(info)
app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin ls",
        "reelin ls --state failed --failure rate_limited",
        "reelin ls --site example.org -q concert --limit 200",
        "reelin ls --parent bulk-3f9c01ab --state failed",
        "reelin ls --parent bulk-3f9c01ab --all --json",
    ),
)(ls)
app.command(rich_help_panel=_DOWNLOADS, epilog=examples("reelin show video-3f9c01ab", "reelin show --json 3f9c01ab"))(
    show
)
app.command(rich_help_panel=_DOWNLOADS, epilog=examples("reelin watch", "reelin watch bulk-3f9c01ab"))(watch)
app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin pause bulk-3f9c01ab", "reelin pause --site example.org", "reelin pause --parent bulk-3f9c01ab"
    ),
)(pause)
app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin resume bulk-3f9c01ab", "reelin resume playlist-81d2c77e --positions 1,4-6", "reelin resume --all"
    ),
)(resume)
app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin cancel video-3f9c01ab",
        "reelin cancel --keep-partial video-3f9c01ab video-81d2c77e",
        "reelin cancel --parent bulk-3f9c01ab --state queued",
    ),
)(cancel)
app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin retry video-3f9c01ab",
        "reelin retry bulk-3f9c01ab        # just what failed of it",
        "reelin retry --failure rate_limited",
        "reelin retry --all",
    ),
)(retry)
app.command(rich_help_panel=_DOWNLOADS, epilog=examples("reelin priority bulk-3f9c01ab 1"))(priority)
app.command(rich_help_panel=_DOWNLOADS, epilog=examples("reelin videos", "reelin videos -q concert --json"))(videos)
app.command(
    rich_help_panel=_DOWNLOADS,
    epilog=examples(
        "reelin sites",
        "reelin sites example.org --at-once 2 --per-hour 100",
        "reelin sites example.org --per-hour none",
    ),
)(sites)
app.command(
    rich_help_panel=_SERVICE,
    epilog=examples("reelin up", "reelin up --port 9000 --media-dir /srv/video", "REELIN_MAX_DOWNLOADS=4 reelin up"),
)(up)
app.command(rich_help_panel=_SERVICE, epilog=examples("REELIN_DATABASE_URL=postgresql://… reelin serve"))(serve)
app.command(rich_help_panel=_SERVICE, epilog=examples("TEMPORAL_ADDRESS=temporal:7233 reelin worker"))(worker)
app.command(
    rich_help_panel=_SERVICE,
    epilog=examples("reelin adopt", "reelin adopt --beside", "reelin adopt --in-place-of 3f9c01ab"),
)(adopt)
app.command(rich_help_panel=_SERVICE, epilog=examples("reelin doctor", "reelin doctor --json"))(doctor)
app.command(rich_help_panel=_SERVICE, epilog=examples("reelin demo"))(demo)
