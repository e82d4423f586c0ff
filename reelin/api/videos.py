"""The library: what was downloaded."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from reelin.api.examples import VIDEO, VIDEO_PAGE, answered
from reelin.api.lost import note_lost
from reelin.api.parts import Parts
from reelin.api.routes import Route, router_of
from reelin.contracts.jobs import ResultFile
from reelin.contracts.media import Role
from reelin.contracts.model import Message, Request
from reelin.library import FileRecord, VideoFilter, VideoRecord, VideoState


class VideoFile(ResultFile):
    role: Role
    missing_since: datetime | None = Field(
        None, description="It was looked for and is not in the media folder; a new download fetches it again"
    )


class Video(Message):
    id: str
    url: str
    title: str | None
    uploader: str | None
    duration_seconds: float | None
    uploaded_on: date | None
    site: str
    extractor: str | None
    extractor_id: str | None
    thumbnail_url: str | None
    state: VideoState
    owner: str
    added_at: datetime
    files: tuple[VideoFile, ...]


class VideoPage(Message):
    items: tuple[Video, ...]
    next_cursor: str | None


class VideoQuery(Request):
    q: str | None = Field(None, max_length=200, description="Part of the title, the uploader or the URL")
    state: VideoState | None = None
    site: str | None = Field(None, max_length=255)
    uploader: str | None = Field(None, max_length=500)
    sort: str = Field("-added_at", description="added_at or title, with - for descending")
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=4000, description="next_cursor of the page before")

    def filter(self) -> VideoFilter:
        return VideoFilter(q=self.q, state=self.state, site=self.site, uploader=self.uploader)


class VideoRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._videos = parts.library.videos

    def router(self) -> APIRouter:
        page, video = {200: answered(VIDEO_PAGE, "One page")}, {200: answered(VIDEO, "The video")}
        return router_of(
            "/api/videos",
            "videos",
            Route("GET ", self.page, "Search the library", problems=(401, 422), answers=page, model=VideoPage),
            Route(
                "GET /{video_id}",
                self.look,
                "One video and its files",
                problems=(401, 404, 422),
                answers=video,
                model=Video,
            ),
        )

    async def page(self, query: Annotated[VideoQuery, Query()]) -> Response:
        """What was downloaded, newest first."""
        found = await self._videos.page(query.filter(), sort=query.sort, limit=query.limit, cursor=query.cursor)
        page = VideoPage(items=tuple(video_of(record) for record in found.items), next_cursor=found.next_cursor)
        return Response(page.model_dump_json(), media_type="application/json")

    async def look(self, video_id: str) -> Response:
        """Each file's `url` has its bytes."""
        record = await self._videos.get(video_id)
        if await note_lost(self._parts, record.files):
            record = await self._videos.get(video_id)
        video = video_of(record)
        return Response(video.model_dump_json(), media_type="application/json")


def video_of(record: VideoRecord) -> Video:
    return Video(
        id=record.id,
        url=record.url,
        title=record.title,
        uploader=record.uploader,
        duration_seconds=record.duration_seconds,
        uploaded_on=record.uploaded_on,
        site=record.site,
        extractor=record.extractor,
        extractor_id=record.extractor_id,
        thumbnail_url=record.thumbnail_url,
        state=VideoState(record.state),
        owner=record.owner,
        added_at=record.added_at,
        files=tuple(_file(file) for file in record.files),
    )


def _file(record: FileRecord) -> VideoFile:
    return VideoFile(
        id=record.id,
        path=record.path,
        size_bytes=record.size_bytes,
        sha256=record.sha256,
        url=record.url,
        role=Role(record.role),
        missing_since=record.missing_since,
    )
