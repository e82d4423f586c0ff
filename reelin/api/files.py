"""A published file's bytes, whole or in ranges."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.datastructures import Headers
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, Response
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from reelin.api.handlers import RETRY_AFTER_SECONDS
from reelin.api.lost import note_lost
from reelin.api.parts import Parts
from reelin.api.problems import FieldError, documented, problem_response
from reelin.contracts.model import Request
from reelin.errors import MediaFailure
from reelin.library import FileRecord

#: What a browser may show in place. Everything else is a download: a page or a drawing could carry a script.
_SHOWN = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".flv": "video/x-flv",
    ".ts": "video/mp2t",
    ".3gp": "video/3gpp",
    ".ogv": "video/ogg",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".opus": "audio/ogg",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
}
#: A browser makes a page of its own round a film or a picture; nothing in it may run or lead anywhere.
_PLAYER = "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; sandbox"
_SUBTITLES = {".vtt": "text/vtt", ".srt": "application/x-subrip"}


class FileQuery(Request):
    download: bool = Field(False, description="Save it under its name instead of showing it")


class FileRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._videos = parts.library.videos
        self._media = parts.media

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/videos", tags=["videos"])
        path = "/{video_id}/files/{file_id}"
        router.add_api_route(
            path,
            self.read,
            summary="A file's bytes",
            response_class=FileResponse,
            responses={**_DOCUMENTED, **documented(401, 404, 416, 422, 503)},
        )
        router.add_api_route(path, self.read, methods=["HEAD"], include_in_schema=False)
        return router

    async def read(
        self,
        request: HttpRequest,
        video_id: str,
        file_id: str,
        query: Annotated[FileQuery, Query()],
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """With `Range` a part of it. The ETag is the SHA-256 of the whole."""
        file = await self._videos.file(video_id, file_id)
        headers = _headers(file, download=query.download)
        if if_none_match is not None and _matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        away = await self._why_not_here(file)
        if away is not None:
            return _not_here(request.url.path, away)
        found = await self._media.threads.run(_found, self._media.media_dir, file.path)
        if found is None:
            await note_lost(self._parts, (file,))
            return _gone(request.url.path)
        if file.missing_since is not None:
            await note_lost(self._parts, (file,))
        path, status = found
        return _MediaFile(path, headers=headers, media_type=_media_type(file.path), stat_result=status)

    async def _why_not_here(self, file: FileRecord) -> str | None:
        """Nothing can be said of a file whose folder is not here: it is neither there nor gone."""
        try:
            if file.media_id == await self._media.identify():
                return None
            return await self._media.trouble() or "The file is in another worker's media folder."
        except MediaFailure as failure:
            return failure.message


class _MediaFile(FileResponse):
    """Starlette's, with a problem for a range that it cannot serve."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: list[AsgiMessage] = []

        async def passing(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused.append(message)
            elif not refused:
                await send(message)

        await super().__call__(scope, receive, passing)
        if refused:
            await _unsatisfiable(scope["path"], Headers(raw=refused[0]["headers"]))(scope, receive, send)


def _unsatisfiable(instance: str, headers: Headers) -> Response:
    """`headers` say how long the file is, unless the range could not even be read."""
    size = headers.get("content-range")
    message = "The range lies outside the file." if size else "The range cannot be read."
    remedy = "Ask for bytes=FIRST-LAST within the file's size, or leave the header out for the whole file."
    errors = [FieldError(field="Range", message=message, remedy=remedy)]
    sized = {"Content-Range": size} if size else None
    return problem_response(
        416 if size else 422, f"{message} {remedy}", instance=instance, errors=errors, headers=sized
    )


def _found(media_dir: Path, relative: str) -> tuple[Path, os.stat_result] | None:
    """The file, if it is an ordinary one inside the media folder."""
    try:
        path = (media_dir / relative).resolve(strict=True)
        status = path.stat()
    except OSError:
        return None
    inside = path.is_relative_to(media_dir.resolve())
    return (path, status) if inside and stat.S_ISREG(status.st_mode) else None


def _headers(file: FileRecord, *, download: bool) -> dict[str, str]:
    shown = Path(file.path).suffix.lower() in _SHOWN and not download
    return {
        "ETag": f'"{file.sha256}"',
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; {_file_name(file.path)}",
        "Content-Security-Policy": _PLAYER,
        "Cache-Control": "private, no-cache",  # a forced download replaces the bytes under the same address
    }


def _file_name(path: str) -> str:
    """RFC 6266: a plain name for old clients, the real one for the rest."""
    name = Path(path).name
    plain = "".join(each if each.isascii() and each.isprintable() and each not in '"\\%' else "_" for each in name)
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _media_type(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return _SHOWN.get(suffix) or _SUBTITLES.get(suffix) or "application/octet-stream"


def _matches(if_none_match: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _not_here(instance: str, reason: str) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return problem_response(503, f"The file cannot be read. {reason}", instance=instance, headers=headers)


def _gone(instance: str) -> Response:
    message = "The file is no longer in the media folder."
    remedy = "To fetch it again, submit the video's URL again."
    errors = [FieldError(field="file_id", message=message, remedy=remedy)]
    return problem_response(404, f"{message} {remedy}", instance=instance, errors=errors)


_BYTES: dict[str, Any] = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}
_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole file", "content": _BYTES},
    206: {"description": "The range asked for", "content": _BYTES},
    304: {"description": "The client has it already (If-None-Match)"},
}
