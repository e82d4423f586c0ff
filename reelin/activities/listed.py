"""The jobs of a playlist's entries."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import Kind
from reelin.contracts.urls import IPNetwork, check_url, literal_address, reachable, site_of
from reelin.contracts.work import JobRequest
from reelin.engine.seam import Entry
from reelin.errors import InvalidInput
from reelin.library import NewJob, item_of


class Items:
    """`single`: the playlist is one video after all."""

    def __init__(self, batch: JobRequest, allowed: tuple[IPNetwork, ...], *, single: bool) -> None:
        self._batch_id = batch.job_id
        self._allowed = allowed
        self._single = single
        self._shared = NewJob(
            id="",
            kind=Kind.AUTO,
            url="",
            site="",
            owner=batch.owner,
            preset=batch.preset,
            options=batch.options,
            priority=batch.priority,
            force=batch.force,
        )

    def job_of(self, line: bytes) -> NewJob:
        """`line` is one of a listing's. What cannot be downloaded becomes a job that has failed, at its position."""
        entry = Entry.model_validate_json(line)
        try:
            if entry.url is None:
                raise InvalidInput(entry.reason or "The entry has no address.", remedy="")
            new = item_of(self._shared, check_url(entry.url, allowed=self._allowed))
        except InvalidInput as error:
            new = self._failed(entry, error.message)
        kind = Kind.VIDEO if self._single else new.kind
        return replace(new, kind=kind, title=entry.title, entry=entry.said())

    def _failed(self, entry: Entry, message: str) -> NewJob:
        kind = self._kind(entry.url)
        failure = Failure(kind=kind, message=message, remedy=REMEDIES[kind], retryable=False)
        # Not by its address: it may have none, and with other settings the same address may be a fine one.
        digest = hashlib.sha256(f"{self._batch_id} {entry.playlist_index}".encode()).hexdigest()
        options = self._shared.options.for_items()
        shown = None if entry.url is None or "@" in entry.url else entry.url
        return replace(self._shared, id=f"video-{digest[:24]}", url=shown or "", options=options, failure=failure)

    def _kind(self, url: str | None) -> FailureKind:
        """A sound URL is refused for one thing only: where it leads."""
        try:
            address = literal_address(site_of(url)) if url else None
        except ValueError:
            return FailureKind.INVALID_URL
        blocked = address is not None and not reachable(address, self._allowed)
        return FailureKind.BLOCKED_ADDRESS if blocked else FailureKind.INVALID_URL
