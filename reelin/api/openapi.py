"""The API's description of itself."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from reelin.api.problems import Problem
from reelin.api.submission import Submission

ABOUT = """
Durable video downloads. A job that was accepted is never lost: submit it, follow it, fetch its files.

**Errors** are RFC 9457 problem details (`application/problem+json`); each of their `errors` names the field and the
remedy.

**Token**: where `REELIN_API_TOKEN` is set, everything below `/api` needs `Authorization: Bearer TOKEN`. EventSource,
WebSocket and links to files, which cannot set a header, may use `?access_token=TOKEN`.

**Host**: without a token the API answers for `localhost`, loopback addresses and the names in `REELIN_ALLOWED_HOSTS`;
off loopback, after `--no-auth`, also for literal addresses and the machine's own name.

**Standing still**: a job that neither runs nor is over says in `waiting_for` what it waits for, until when, and after
how many attempts. A batch says in `items_waiting` what its items wait for. Messages and titles come from the net:
never take them for markup.

**Live progress**: Server-Sent Events at `/api/events` and `/api/jobs/{id}/events`, or the WebSocket `/api/ws`. Every
event carries the whole Job, so a client that missed some needs only the newest: drop one whose `version` is not newer.
A batch is told of as the sum of its items (`counts`, and `progress` with an estimate of `total_bytes`), at most twice a
second. With `items` each item comes too: those in flight at once, then every change of one that has left the line.
After a connection broke, `/api/events` tells of at most the 10,000 jobs that ended last; the list has the others.

WebSocket messages are JSON with a `type`.
From the client: `subscribe_job {job_id | "*", items}`, `unsubscribe_job {job_id}`, `get_active_jobs`,
`cancel_job {job_id}`, `ping`.
From the server: `connected`, `subscription_response {job_id, success, message}`,
`unsubscription_response {job_id, success, message}`, `job_status {job}` (on subscribing, and when final),
`job_update {job}`, `job_deleted {job_id}`, `active_jobs {jobs, more}`, `pong`, `error {message}`.
"""
TAGS: list[dict[str, Any]] = [
    {"name": "jobs", "description": "Submit URLs and follow what becomes of them."},
    {"name": "live", "description": "Progress as it happens."},
    {"name": "videos", "description": "What was downloaded, and its bytes."},
    {"name": "sites", "description": "How much may be asked of each site."},
    {"name": "service", "description": "How Reelin itself is."},
]


class DescribedApi(FastAPI):
    """FastAPI, with problem details and the token in its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update({**_schemas(Problem), **_schemas(Submission, "validation")})
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path, operations in document["paths"].items():
                if path.startswith("/api/"):
                    for operation in operations.values():
                        operation["security"] = [{"token": []}, {}]
        return super().openapi()


def _schemas(model: type[BaseModel], mode: Literal["serialization", "validation"] = "serialization") -> dict[str, Any]:
    _, definitions = models_json_schema([(model, mode)], ref_template="#/components/schemas/{model}")
    found: dict[str, Any] = definitions["$defs"]
    return found
