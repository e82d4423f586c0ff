"""What a client asks for: one URL, and how to download it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from reelin.contracts.jobs import Kind
from reelin.contracts.model import Request
from reelin.contracts.options import DEFAULT_PRESET, Options, check_preset
from reelin.contracts.urls import IPNetwork, check_url, job_id_for, site_of
from reelin.errors import InvalidInput
from reelin.library import NewJob

_ONE_AT_A_TIME = "This version takes one URL at a time: give it as `url`, with a request for each."
OWNER = "local"


def _single(kind: object) -> object:
    if kind in (Kind.PLAYLIST, Kind.BULK):
        raise InvalidInput(f"Jobs of the kind {kind} do not exist yet.", remedy=_ONE_AT_A_TIME)
    return kind


def _not_yet(wanted: object) -> object:
    if wanted is not False:
        raise InvalidInput("Batches do not exist yet.", remedy=f"Leave it out. {_ONE_AT_A_TIME}")
    return wanted


class Submission(Request):
    """One URL to download, or to look at with `kind=info`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://example.org/watch?v=1"},
                {"url": "https://example.org/watch?v=1", "preset": "720p", "options": {"folder": "talks/2026"}},
            ]
        }
    )

    kind: Annotated[Literal[Kind.AUTO, Kind.VIDEO, Kind.INFO], BeforeValidator(_single)] = Field(
        Kind.AUTO, description="`auto` finds out; `info` fetches metadata and formats without downloading"
    )
    url: str = Field(description="http or https; a host in a private range is refused unless it was opened")
    preset: Annotated[str, AfterValidator(check_preset)] = Field(DEFAULT_PRESET, examples=["best", "720p", "audio-mp3"])
    options: Options = Options()
    priority: int = Field(3, ge=1, le=5, description="1 first, 5 last")
    force: bool = Field(False, description="Download again what is there already, and replace it")
    preview: Annotated[Literal[False], BeforeValidator(_not_yet)] = False
    skip_invalid: Annotated[Literal[False], BeforeValidator(_not_yet)] = False

    @model_validator(mode="before")
    @classmethod
    def _one_url(cls, given: Any) -> Any:
        if isinstance(given, dict) and "urls" in given:
            raise InvalidInput("Lists of URLs cannot be submitted yet.", remedy=_ONE_AT_A_TIME, field="urls")
        return given

    def job(self, allowed: tuple[IPNetwork, ...]) -> NewJob:
        """`allowed` are the private ranges that downloads may reach. Raises InvalidInput."""
        url = check_url(self.url, allowed=allowed)
        return NewJob(
            id=job_id_for(self.kind, OWNER, url, self.preset, self.options),
            kind=self.kind,
            url=url,
            site=site_of(url),
            owner=OWNER,
            preset=self.preset,
            options=self.options,
            priority=self.priority,
            force=self.force,
        )


class CancelWish(Request):
    """How a job ends."""

    keep_partial: bool = Field(False, description="Keep what was fetched, so that a retry goes on from there")
