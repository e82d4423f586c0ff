"""What failed in a batch: how many, why, and what to do. Never all of it: a batch may have 100,000 items."""

from __future__ import annotations

from collections import Counter

from reelin.cli.client import PAGE_LIMIT, Client
from reelin.cli.console import say
from reelin.cli.describe import failure_lines, name
from reelin.cli.text import short_id
from reelin.contracts.jobs import BATCH_KINDS, Job, State

#: So many are named.
NAMED = 20


def show_failures(client: Client, batch: Job) -> None:
    """The first that failed, by position, and the command that tries just those again. Nothing if none did."""
    if batch.kind not in BATCH_KINDS or batch.counts is None or not batch.counts.failed:
        return
    say()
    say(f"{batch.counts.failed:,} of {batch.counts.total:,} failed:")
    items = _failed(client, batch, NAMED)
    remedies: set[str] = set()
    for item in items:
        _show(item, remedies)
    if batch.counts.failed > len(items) == NAMED:
        say(f"  … All of them: reelin ls --parent {short_id(batch.id)} --state failed --all")
    say(f"To try again just what failed: {_retry(batch)}")


def by_kind(client: Client, batch: Job) -> str:
    """ "not_found 12, dns 3"; of the first 500 where there are more."""
    items = _failed(client, batch, PAGE_LIMIT)
    kinds = Counter(str(item.failure.kind) if item.failure else "unknown" for item in items)
    said = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    more = batch.counts is not None and batch.counts.failed > len(items)
    return said + (f" (of the first {len(items)})" if more else "")


def _failed(client: Client, batch: Job, limit: int) -> list[Job]:
    return list(client.jobs({"parent": batch.id, "state": State.FAILED.value}, limit=limit))


def _retry(batch: Job) -> str:
    this = short_id(batch.id)
    # By itself, one that was cancelled would run what was cancelled too.
    return f"reelin retry --parent {this} --state failed" if batch.state is State.CANCELLED else f"reelin retry {this}"


def _show(item: Job, remedies: set[str]) -> None:
    """Each remedy is said once: `remedies` are those that were."""
    what = name(item)
    say(f"  #{item.position}  {what}" + (f"  {item.url}" if item.url and item.url != what else ""))
    if item.failure is None:
        return
    kind_and_message, remedy = failure_lines(item.failure)
    say(f"      {kind_and_message}")
    if remedy not in remedies:
        say(f"      {remedy}")
        remedies.add(remedy)
