"""How videos stand: the states of library entries follow the jobs that fetch them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reelin.contracts.jobs import UNFINISHED_STATES, Kind, State
from reelin.contracts.media import Role
from reelin.contracts.urls import canonical_url
from reelin.library.records import JobRecord
from reelin.library.rows import find
from reelin.library.tables import files, jobs, videos


class VideoState(StrEnum):
    WANTED = "wanted"  #: In the library, nothing fetched yet.
    DOWNLOADING = "downloading"  #: A job is on it.
    DOWNLOADED = "downloaded"  #: Its files are published.
    FAILED = "failed"  #: Its job failed.
    MISSING = "missing"  #: Its files are gone from the media folder.


_SINGLE = (Kind.AUTO, Kind.VIDEO)
_AFTER = {State.FAILED: VideoState.FAILED, State.CANCELLED: VideoState.WANTED}
_TEXTS = ("title", "uploader", "duration_seconds", "extractor", "extractor_id", "thumbnail_url")


def video_id_of(owner: str, *identity: str) -> str:
    digest = hashlib.sha256(json.dumps([owner, *identity], ensure_ascii=False).encode()).hexdigest()
    return f"v-{digest[:24]}"


def video_id_of_url(owner: str, url: str) -> str:
    """The id of a video of which only the URL is known."""
    return video_id_of(owner, "url", canonical_url(url))


def _entry_of(job: JobRecord) -> ColumnElement[bool]:
    url = job.url or ""
    return and_(videos.c.owner == job.owner, or_(videos.c.id == video_id_of_url(job.owner, url), videos.c.url == url))


async def note_running(connection: AsyncConnection, job: JobRecord) -> None:
    """A worker has the job."""
    if job.kind in _SINGLE and job.url:
        idle = videos.c.state.in_((VideoState.WANTED, VideoState.FAILED, VideoState.MISSING))
        values = {"state": VideoState.DOWNLOADING}
        await connection.execute(update(videos).where(_entry_of(job), idle).values(values))


async def note_ended(connection: AsyncConnection, job_id: str, state: State) -> None:
    """The job ended without a file."""
    if state not in _AFTER:
        return
    job = await find(connection, job_id)
    if job is not None and job.kind in _SINGLE and job.url:
        mine = (_entry_of(job), videos.c.state == VideoState.DOWNLOADING)
        await connection.execute(update(videos).where(*mine).values(state=_idle_state(_named(_AFTER[state]))))


async def follow_files(connection: AsyncConnection, video_ids: Collection[str]) -> None:
    """Some of these videos' files have gone or come back. One that a job is on stays as it is."""
    settled = videos.c.state != VideoState.DOWNLOADING
    values = {"state": _idle_state(videos.c.state)}
    await connection.execute(update(videos).where(videos.c.id.in_(video_ids), settled).values(values))


def _idle_state(otherwise: ColumnElement[str]) -> ColumnElement[str]:
    """Of a video that no job is on. It has a file, or it had one, which is missing; `otherwise` what is said of it, and
    that its job failed comes before that a file is missing."""
    media = (files.c.video_id == videos.c.id, files.c.role == Role.MEDIA)
    there = exists().where(*media, files.c.missing_since.is_(None))
    had_one = or_(exists().where(*media), otherwise == VideoState.DOWNLOADED)
    missing = and_(had_one, otherwise != VideoState.FAILED)
    return case((there, _named(VideoState.DOWNLOADED)), (missing, _named(VideoState.MISSING)), else_=otherwise)


def _named(state: VideoState) -> ColumnElement[str]:
    return literal(state, videos.c.state.type)


async def note_idle(connection: AsyncConnection) -> int:
    """Videos that no job is on any more (it was forgotten, or ended unheard) are wanted again; returns how many."""
    query = select(videos).where(videos.c.state == VideoState.DOWNLOADING)
    found = (await connection.execute(query)).all()
    idle = [row.id for row in found if not await _in_work(connection, row.owner, row.url)]
    back = update(videos).where(videos.c.id.in_(idle))
    await connection.execute(back.values(state=_idle_state(_named(VideoState.WANTED))))
    return len(idle)


async def _in_work(connection: AsyncConnection, owner: str, url: str) -> bool:
    unfinished = jobs.c.state.in_(tuple(sorted(UNFINISHED_STATES)))
    query = select(exists().where(jobs.c.owner == owner, jobs.c.url == url, jobs.c.kind.in_(_SINGLE), unfinished))
    return bool((await connection.execute(query)).scalar())


async def describe(connection: AsyncConnection, owner: str, url: str, result: Mapping[str, Any]) -> None:
    """Writes what an info job found into the entry that was made for this URL."""
    values = {name: result.get(name) for name in _TEXTS}
    uploaded_on = result.get("uploaded_on")
    values["uploaded_on"] = date.fromisoformat(uploaded_on) if isinstance(uploaded_on, str) else uploaded_on
    await connection.execute(update(videos).where(videos.c.id == video_id_of_url(owner, url)).values(values))
