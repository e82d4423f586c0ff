"""A playlist's entries, before anything is downloaded."""

from __future__ import annotations

from reelin.cli.client import Client
from reelin.cli.console import print_json, say, screen
from reelin.cli.describe import name
from reelin.cli.stream import follow
from reelin.cli.tables import preview_table, print_table
from reelin.cli.text import plural, short_id
from reelin.contracts.jobs import Job, Kind, State

_SHOWN = 100


def wait_for_entries(client: Client, job: Job) -> Job:
    """The job as soon as its entries are listed; or as it stands where the URL turns out to be no playlist."""
    with screen(stderr=True).status("Looking at the playlist…"):
        for newer in follow(client, [] if _decided(job) else [job.id]):
            job = newer if newer.id == job.id else job
            if _decided(job):
                break
    return job


def _decided(job: Job) -> bool:
    return job.state.final or job.state is State.PAUSED or job.kind is Kind.VIDEO


def show_preview(client: Client, job: Job, *, as_json: bool) -> None:
    """The first entries, and the commands that go on from here."""
    query = {"parent": job.id}
    if as_json:
        print_json(job)
        for item in client.jobs(query):
            print_json(item)
        return
    total = sum(client.count(query).values())
    say(f"{name(job)}: {plural(total, 'entry', 'entries')}")
    print_table(screen(), preview_table(client.jobs(query, limit=_SHOWN)))
    this = short_id(job.id)
    if total > _SHOWN:
        say(f"The first {_SHOWN}. All of them: reelin ls --parent {this} --all")
    say()
    say(f"Some of it: reelin resume {this} --positions 1,4")
    say(f"All of it:  reelin resume {this}")
    say(f"Nothing:    reelin cancel {this}")
