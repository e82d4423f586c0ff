"""What the API's documentation shows."""

from __future__ import annotations

from typing import Any

JOB: dict[str, Any] = {
    "id": "video-3f9c0a51b2d84e6f7a8b9c0d",
    "kind": "video",
    "state": "running",
    "phase": "downloading",
    "url": "https://example.org/watch?v=1",
    "title": "A talk",
    "site": "example.org",
    "parent_id": None,
    "position": None,
    "owner": "local",
    "preset": "best",
    "priority": 3,
    "attempt": 1,
    "next_attempt_at": None,
    "waiting_for": None,
    "submitted_at": "2026-01-02T03:04:05.678000Z",
    "started_at": "2026-01-02T03:04:05.901000Z",
    "finished_at": None,
    "progress": {
        "percent": 41.7,
        "downloaded_bytes": 4370000,
        "total_bytes": 10480000,
        "total_is_estimate": False,
        "bytes_per_second": 1048576.0,
        "eta_seconds": 5.8,
        "fragment": 3,
        "fragments": 20,
        "stream": 1,
        "streams": 2,
    },
    "counts": None,
    "items_waiting": [],
    "failure": None,
    "result": None,
    "links": {
        "self": "/api/jobs/video-3f9c0a51b2d84e6f7a8b9c0d",
        "events": "/api/jobs/video-3f9c0a51b2d84e6f7a8b9c0d/events",
        "temporal": "http://127.0.0.1:8233/namespaces/default/workflows/video-3f9c0a51b2d84e6f7a8b9c0d",
    },
    "version": 1767323045678901,
}
#: One that does not move.
WAITING_JOB: dict[str, Any] = {
    **JOB,
    "state": "waiting",
    "phase": None,
    "attempt": 3,
    "next_attempt_at": "2026-01-02T03:14:05.678000Z",
    "waiting_for": {
        "reason": "retry",
        "until": "2026-01-02T03:14:05.678000Z",
        "attempt": 3,
        "failure": "site_error",
        "message": "HTTP Error 500: Internal Server Error",
        "site": None,
    },
    "progress": None,
}
JOB_PAGE: dict[str, Any] = {
    "items": [JOB, WAITING_JOB],
    "next_cursor": "WyItc3VibWl0dGVkX2F0IiwgIjIwMjYtMDEtMDIiLCAidmlkZW8tMyJd",
    "counts": {
        "queued": 0,
        "running": 1,
        "waiting": 0,
        "paused": 0,
        "completed": 12,
        "partial": 0,
        "failed": 1,
        "cancelled": 0,
    },
}
FILE: dict[str, Any] = {
    "id": "f-1d2c3b4a59687766554433ff",
    "path": "A talk [1].mp4",
    "size_bytes": 10480000,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "url": "/api/videos/v-0a1b2c3d4e5f60718293a4b5/files/f-1d2c3b4a59687766554433ff",
    "role": "media",
    "missing_since": None,
}
VIDEO: dict[str, Any] = {
    "id": "v-0a1b2c3d4e5f60718293a4b5",
    "url": "https://example.org/watch?v=1",
    "title": "A talk",
    "uploader": "Example",
    "duration_seconds": 63.5,
    "uploaded_on": "2026-01-01",
    "site": "example.org",
    "extractor": "Example",
    "extractor_id": "1",
    "thumbnail_url": None,
    "state": "downloaded",
    "owner": "local",
    "added_at": "2026-01-02T03:04:15.678000Z",
    "files": [FILE],
}
STATS: dict[str, Any] = {
    "jobs": JOB_PAGE["counts"],
    "last_minute": {"completed": 2, "failed": 0, "bytes": 20960000},
    "last_hour": {"completed": 12, "failed": 1, "bytes": 125760000},
    "queues": {"reelin-downloads": {"backlog": 3, "oldest_seconds": 1.5, "workers": 2}},
    "files": {"limit": 65536, "for_work": 228, "streams": 3, "streams_at_most": 65284},
    "disk": {"total_bytes": 500000000000, "free_bytes": 120000000000},
}
VIDEO_PAGE: dict[str, Any] = {"items": [VIDEO], "next_cursor": None}
BATCH: dict[str, Any] = {
    **JOB,
    "id": "bulk-8a7b6c5d4e3f2a1b0c9d8e7f",
    "kind": "bulk",
    "phase": None,
    "url": None,
    "title": "3 URLs",
    "site": None,
    "progress": None,
    "counts": {
        "total": 3,
        "queued": 0,
        "running": 0,
        "waiting": 1,
        "paused": 0,
        "completed": 1,
        "skipped": 1,
        "failed": 0,
        "cancelled": 0,
    },
    "items_waiting": [
        {
            "reason": "retry",
            "count": 1,
            "until": "2026-01-02T03:14:05.678000Z",
            "attempt": 3,
            "failure": "site_error",
            "message": "HTTP Error 500: Internal Server Error",
            "site": "example.org",
        }
    ],
}
#: What POST /api/jobs takes: the body is read by hand, since it may be text.
TAKES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Submission"}},
            "text/plain": {
                "schema": {"type": "string"},
                "example": "# one URL a line\nhttps://example.org/watch?v=1\nhttps://example.org/watch?v=2\n",
            },
        },
    },
    "parameters": [
        {"name": name, "in": "query", "schema": schema, "description": f"With text/plain: {what}"}
        for name, schema, what in (
            ("preset", {"type": "string"}, "as in the JSON body"),
            ("options", {"type": "string"}, "the options as a JSON object"),
            ("priority", {"type": "integer"}, "1 first, 5 last"),
            ("force", {"type": "boolean"}, "download again what is there already"),
            ("skip_invalid", {"type": "boolean"}, "run what can be used"),
        )
    ],
}
SITE: dict[str, Any] = {
    "site": "example.org",
    "max_at_once": 4,
    "max_at_once_is_default": True,
    "requests_per_hour": None,
    "in_use": 4,
    "waiting": 46,
    "cooldown_until": None,
    "reason": None,
}
SITE_PAGE: dict[str, Any] = {"items": [SITE], "next_cursor": None}
EVENTS = (
    "id: 1767323045678901\r\nevent: job\r\ndata: {…the Job…}\r\n\r\n"
    'id: 1767323055678901\r\nevent: end\r\ndata: {"id":"video-3f9c0a51b2d84e6f7a8b9c0d","state":"completed"}\r\n\r\n'
)
ALL_EVENTS = (
    "id: 1767323045678901\r\nevent: job\r\ndata: {…a Job…}\r\n\r\n"
    "id: 1767323045678901\r\nevent: ready\r\ndata: {}\r\n\r\n"
    'id: 1767323065678901\r\nevent: deleted\r\ndata: {"id":"video-3f9c0a51b2d84e6f7a8b9c0d"}\r\n\r\n'
)


def answered(example: Any, description: str, media_type: str = "application/json") -> dict[str, Any]:
    """One entry of a route's `responses`."""
    return {"description": description, "content": {media_type: {"example": example}}}
