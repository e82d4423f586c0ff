"""Changing the library: want a video, remove one, download what is listed."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.responses import Response

from reelin.api.examples import BATCH, JOB, VIDEO, answered
from reelin.api.lists import MAX_URLS, NAMED, UnusableEntries
from reelin.api.lost import submit_again_if_lost, submit_list
from reelin.api.parts import Parts
from reelin.api.problems import FieldError, clipped
from reelin.api.routes import Route, router_of
from reelin.api.shown import answer
from reelin.api.submission import OWNER, Preset, Submission, new_batch
from reelin.api.videos import Video, video_of
from reelin.contracts.jobs import Job, Kind, State
from reelin.contracts.model import Request
from reelin.contracts.options import DEFAULT_PRESET, Options
from reelin.contracts.urls import check_url
from reelin.errors import Conflict, MediaFailure
from reelin.library import FileRecord, Submitted


class WantedVideo(Request):
    """A video for the library; how it is to be downloaded is remembered."""

    url: str = Field(description="http or https")
    preset: Preset = DEFAULT_PRESET
    options: Options = Options()


class DownloadWish(Request):
    """What is left out is as it was said when the video was put on the list."""

    preset: Preset | None = None
    options: Options | None = None
    force: bool = Field(False, description="Download again what is there already, and replace it")


class BulkDownloadWish(Request):
    """Several videos, all downloaded in one way."""

    video_ids: Annotated[list[str], Field(min_length=1, max_length=MAX_URLS)]
    preset: Preset = DEFAULT_PRESET
    options: Options = Options()
    force: bool = Field(False, description="Download again what is there already, and replace it")


class RemovalQuery(Request):
    files: bool = Field(False, description="Delete the files too; else they stay in the media folder")


class ShelfRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._shelf = parts.library.shelf
        self._videos = parts.library.videos

    def router(self) -> APIRouter:
        known = answered(VIDEO, "It was in the library already")
        wanted = answered({**VIDEO, "state": "wanted", "files": []}, "In the library; nothing is fetched yet")
        return router_of(
            "/api/videos",
            "videos",
            Route(
                "POST ",
                self.want,
                "Want a video",
                problems=(401, 422, 503),
                answers={200: known, 201: wanted},
                model=Video,
                status=201,
            ),
            Route(
                "POST /bulk/download",
                self.download_all,
                "Download several videos",
                problems=(401, 409, 422, 503),
                answers={202: answered(BATCH, "Accepted and stored")},
                model=Job,
                status=202,
            ),
            Route(
                "POST /{video_id}/download",
                self.download,
                "Download a video",
                problems=(401, 404, 422, 503),
                answers={
                    200: answered(JOB, "The job was there already"),
                    202: answered(JOB, "Accepted and stored"),
                },
                model=Job,
                status=202,
            ),
            Route("DELETE /{video_id}", self.remove, "Remove a video", problems=(401, 404, 409, 422), status=204),
        )

    async def want(self, wanted: WantedVideo) -> Response:
        """An info job fetches title, uploader and the like, and writes them into the entry."""
        url = check_url(wanted.url, allowed=self._parts.settings.egress_allow)
        video_id, fresh = await self._shelf.want(owner=OWNER, url=url, preset=wanted.preset, options=wanted.options)
        if (await self._videos.get(video_id)).title is None:
            await self._describe(url, wanted.options)
        video = video_of(await self._videos.get(video_id))
        headers = {"Location": f"/api/videos/{video_id}"} if fresh else None
        return Response(video.model_dump_json(), 201 if fresh else 200, headers=headers, media_type="application/json")

    async def _describe(self, url: str, options: Options) -> None:
        """Again, if an earlier request stored the entry and came no further."""
        asked = Submission(kind=Kind.INFO, url=url, options=options)
        submitted = await self._parts.library.jobs.submit(asked.job(self._parts.settings.egress_allow))
        if submitted.job.state is State.COMPLETED:
            await self._shelf.describe(submitted.job)
        self._started(submitted)

    async def download(self, video_id: str, wish: DownloadWish | None = None) -> Response:
        """What is there already is not fetched again, unless `force` or the files are gone."""
        wish = wish or DownloadWish()
        video = await self._videos.get(video_id)
        asked = Submission(
            kind=Kind.VIDEO,
            url=video.url,
            preset=wish.preset or video.preset or DEFAULT_PRESET,
            options=wish.options or Options.model_validate(video.options or {}),
            force=wish.force,
        )
        submitted = await submit_again_if_lost(self._parts, asked.job(self._parts.settings.egress_allow))
        self._started(submitted)
        return await answer(self._parts, submitted.job, 202 if submitted.fresh else 200)

    async def download_all(
        self,
        wish: BulkDownloadWish,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> Response:
        """One job of the kind `bulk`, in the order of the ids."""
        urls = await self._shelf.urls_of(set(wish.video_ids))
        _refuse_unknown(wish.video_ids, urls)
        new = await asyncio.to_thread(
            new_batch,
            tuple(urls[video_id] for video_id in wish.video_ids),
            preset=wish.preset,
            options=wish.options,
            priority=3,
            force=wish.force,
            key=idempotency_key,
        )
        submitted = await submit_list(self._parts, new)
        self._started(submitted)
        return await answer(self._parts, submitted.job, 202 if submitted.fresh else 200)

    async def remove(self, video_id: str, query: Annotated[RemovalQuery, Query()]) -> Response:
        """Jobs stay as they are: one that still downloads the video puts it back."""
        video = await self._videos.get(video_id)
        if query.files:
            await self._refuse_elsewhere(video.files)
            kept = await self._parts.media.threads.run(_delete, self._parts.settings.media_dir, video.files)
            if kept:
                raise Conflict(f"The file {clipped(kept, 120)!r} cannot be deleted; the video stays in the library.")
        await self._shelf.remove(video_id)
        return Response(status_code=204)

    async def _refuse_elsewhere(self, files: tuple[FileRecord, ...]) -> None:
        """Files that are not here would stay on their disk, and belong to nobody."""
        try:
            media_id = await self._parts.media.identify()
        except MediaFailure as failure:
            raise Conflict(f"{failure.message} Its files cannot be deleted now; the video stays.") from failure
        if any(file.media_id != media_id for file in files):
            reason = await self._parts.media.trouble() or "The files are in another worker's media folder."
            raise Conflict(f"{reason} They cannot be deleted from here now; the video stays in the library.")

    def _started(self, submitted: Submitted) -> None:
        if submitted.fresh:
            self._parts.control.submitted([submitted.job.id])
            self._parts.hub.touch(submitted.job.id)


def _refuse_unknown(video_ids: list[str], known: dict[str, str]) -> None:
    unknown = [(index, each) for index, each in enumerate(video_ids) if each not in known]
    if unknown:
        named = [
            FieldError(
                field=f"video_ids.{index}",
                message=f"There is no video {clipped(each, 100)!r}.",
                remedy="Leave it out; GET /api/videos lists the videos.",
            )
            for index, each in unknown[:NAMED]
        ]
        numbers = [index + 1 for index, _ in unknown]
        raise UnusableEntries(numbers, len(video_ids), named, remedy="Leave them out.")


def _delete(media_dir: Path, files: tuple[FileRecord, ...]) -> str | None:
    """Deletes the files before their rows: what is left over is found again. Returns the path of one that resists."""
    root = media_dir.resolve()
    for file in files:
        path = media_dir / file.path
        if not path.parent.resolve().is_relative_to(root) or path.is_dir():
            return file.path
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        except OSError:
            return file.path
    return None
