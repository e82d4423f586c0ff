"""What a client asks for: a URL or a list of them, and how to download it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr, WithJsonSchema, model_validator

from reelin.api.lists import MAX_URLS, CheckedList, check_list
from reelin.contracts.jobs import Kind
from reelin.contracts.model import Request
from reelin.contracts.options import DEFAULT_PRESET, Options, check_preset
from reelin.contracts.urls import IPNetwork, check_url, job_id_for, site_of
from reelin.errors import InvalidInput
from reelin.library import NewBatch, NewJob

OWNER = "local"
_ONE_OR_MANY = 'Give one, as in {"url": "https://example.org/watch?v=1"}, or many as `urls`.'
_URLS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_URLS}

Preset = Annotated[str, AfterValidator(check_preset)]
Urls = Annotated[list[Any], WithJsonSchema(_URLS)]


class Submission(Request):
    """One URL to download, or to look at with `kind=info`; or a list of URLs to download."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://example.org/watch?v=1"},
                {"url": "https://example.org/watch?v=1", "preset": "720p", "options": {"folder": "talks/2026"}},
                {"url": "https://example.org/list/7", "preview": True},
                {"urls": ["https://example.org/watch?v=1", "https://example.org/watch?v=2"], "skip_invalid": True},
            ]
        }
    )

    kind: Kind = Field(
        Kind.AUTO, description="`auto` finds out; `info` fetches metadata and formats without downloading"
    )
    url: str | None = Field(None, description="http or https; a private range is refused unless it was opened")
    urls: Urls | None = Field(None, description=f"1 to {MAX_URLS:,} URLs: one job of the kind `bulk`")
    preset: Preset = Field(DEFAULT_PRESET, examples=["best", "720p", "audio-mp3"])
    options: Options = Options()
    priority: int = Field(3, ge=1, le=5, description="1 first, 5 last")
    force: bool = Field(False, description="Download again what is there already, and replace it")
    preview: bool = Field(
        False, description="A playlist stands paused once its items are listed, until someone resumes it"
    )
    skip_invalid: bool = Field(
        False, description="Of a list, run what can be used; the header Reelin-Skipped-Invalid counts the rest"
    )
    _text: bool = PrivateAttr(False)

    @model_validator(mode="after")
    def _fits_together(self) -> Submission:
        if self.url is None and self.urls is None:
            raise InvalidInput("There is no URL.", remedy=_ONE_OR_MANY, field="url")
        if self.url is not None and self.urls is not None:
            raise InvalidInput("There are both `url` and `urls`.", remedy=_ONE_OR_MANY, field="urls")
        if self.urls is None and self.kind is Kind.BULK:
            raise InvalidInput("A job of the kind bulk is a list.", remedy="Give `urls`, or kind=auto.", field="kind")
        if self.urls is not None and self.kind not in (Kind.AUTO, Kind.BULK):
            remedy = f"Leave kind out; to submit jobs of the kind {self.kind}, send a request for each."
            raise InvalidInput(f"A list cannot be of the kind {self.kind}.", remedy=remedy, field="kind")
        if self.preview and (self.urls is not None or self.kind not in (Kind.AUTO, Kind.PLAYLIST)):
            remedy = "Leave preview out, or submit the playlist's URL with kind=auto or playlist."
            raise InvalidInput("Only a playlist has a preview.", remedy=remedy, field="preview")
        if self.urls is not None and not self.urls:
            raise InvalidInput("The list is empty.", remedy=f"Give 1 to {MAX_URLS:,} URLs.", field="urls")
        return self

    def of_text(self) -> Submission:
        """The same, of a text: its `urls` are lines, some of which may be empty or comments."""
        self._text = True
        return self

    def job(self, allowed: tuple[IPNetwork, ...]) -> NewJob:
        """`allowed` are the private ranges that downloads may reach. Raises InvalidInput."""
        url = check_url(self.url or "", allowed=allowed)
        # What concerns playlists does not make one video two.
        options = self.options.for_items() if self.kind is Kind.VIDEO else self.options
        return NewJob(
            id=job_id_for(self.kind, OWNER, url, self.preset, options),
            kind=self.kind,
            url=url,
            site=site_of(url),
            owner=OWNER,
            preset=self.preset,
            options=options,
            priority=self.priority,
            force=self.force,
            preview=self.preview,
        )

    async def checked(self, allowed: tuple[IPNetwork, ...]) -> CheckedList:
        """The list's URLs. Raises UnusableEntries, InvalidInput."""
        return await asyncio.to_thread(
            check_list, self.urls or [], text=self._text, allowed=allowed, skip_invalid=self.skip_invalid
        )


def new_batch(
    urls: tuple[str, ...], *, preset: str, options: Options, priority: int, force: bool, key: str | None
) -> NewBatch:
    """A list as a job. `key` is the Idempotency-Key: with it, the same request again is the same job.

    Raises InvalidInput for options that only a playlist can follow.
    """
    _refuse_order(options)
    title = f"{len(urls):,} URLs" if len(urls) > 1 else "1 URL"
    job = NewJob(
        id=f"bulk-{secrets.token_hex(12) if key is None else _digest([OWNER, key])[:24]}",
        kind=Kind.BULK,
        url="",
        site="",
        owner=OWNER,
        preset=preset,
        options=options,
        priority=priority,
        force=force,
        title=title,
    )
    request = [list(urls), preset, options.model_dump(mode="json", exclude_defaults=True), priority, force]
    return NewBatch(job, urls, at_once=options.at_once, request_hash=None if key is None else _digest(request))


def _refuse_order(options: Options) -> None:
    for name, chosen in (("items", options.items is not None), ("reverse", options.reverse)):
        if chosen:
            raise InvalidInput(
                f"A list has no {name}: its entries are taken as they stand.",
                remedy=f"Send the entries that you want in the order that you want; {name} goes with a playlist's URL.",
                field=f"options.{name}",
            )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
