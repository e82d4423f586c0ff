"""Alive, and ready: what Reelin stands on, each with a word on how it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Sequence

import structlog
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from reelin.api.control import WorkflowControl
from reelin.api.examples import answered
from reelin.api.parts import Parts
from reelin.contracts.model import Message
from reelin.contracts.work import TASK_QUEUES
from reelin.engine.disk import Disk, amount
from reelin.errors import Unavailable
from reelin.library import Library

LONGEST_CHECK_SECONDS = 3.0
_log = structlog.get_logger(__name__)


class Alive(Message):
    ok: bool = True


class Check(Message):
    ok: bool
    reason: str | None = Field(None, description="Why not")


class Readiness(Message):
    """`degraded` names what works less well, while the service is ready all the same."""

    ok: bool
    database: Check
    temporal: Check
    worker: Check
    disk: Check
    data_disk: Check = Field(description="Where the databases stand")
    media: Check
    degraded: tuple[str, ...] = ()


_READY = {
    "ok": False,
    "database": {"ok": True, "reason": None},
    "temporal": {"ok": True, "reason": None},
    "worker": {"ok": False, "reason": "No worker listens on reelin-downloads. Start one with `reelin worker`."},
    "disk": {"ok": True, "reason": None},
    "data_disk": {"ok": True, "reason": None},
    "media": {"ok": True, "reason": None},
    "degraded": [],
}


class HealthRoutes:
    def __init__(self, parts: Parts) -> None:
        self._library = parts.library
        self._control = parts.control
        self._guests = parts.guests
        self._media = parts.media
        self._disk = Disk(parts.settings.media_dir, parts.settings.min_free_bytes)
        self._data_disks = [Disk(folder, parts.settings.min_free_bytes) for folder in parts.settings.growing_dirs]

    def router(self) -> APIRouter:
        router = APIRouter(tags=["service"])
        router.add_api_route("/healthz", self.alive, response_model=Alive, summary="Is the process alive?")
        router.add_api_route(
            "/readyz",
            self.ready,
            response_model=Readiness,
            summary="Can downloads be accepted and run?",
            responses={
                200: answered({**_READY, "ok": True, "worker": {"ok": True, "reason": None}}, "Ready"),
                503: answered(_READY, "Not ready; each part says why"),
            },
        )
        return router

    async def alive(self) -> Alive:
        """Answers as long as the process does."""
        return Alive()

    async def ready(self) -> Response:
        """Database, Temporal, a worker on every task queue, the media folder, and room on both disks. 503 if one of
        them is missing."""
        database, temporal, worker, disk, data_disk, media = await asyncio.gather(
            _checked("The database", _database(self._library)),
            _checked("Temporal", self._control.check()),
            _checked("Temporal", _worker(self._control)),
            _checked("The media folder", self._media.threads.run(_room, self._disk)),
            _checked("The data folder", asyncio.to_thread(_data_room, self._data_disks)),
            _checked("The media folder", self._media.trouble()),
        )
        ok = all(check.ok for check in (database, temporal, worker, disk, data_disk, media))
        readiness = Readiness(
            ok=ok,
            database=database,
            temporal=temporal,
            worker=worker,
            disk=disk,
            data_disk=data_disk,
            media=media,
            degraded=(self._guests.shortage,) if self._guests.full else (),
        )
        return Response(readiness.model_dump_json(), 200 if ok else 503, media_type="application/json")


async def _checked(part: str, check: Awaitable[str | None]) -> Check:
    """`check` returns the reason, or None."""
    try:
        async with asyncio.timeout(LONGEST_CHECK_SECONDS):
            reason = await check
    except Unavailable as error:
        _log.warning("A readiness check failed", part=part, reason=error.reason)
        reason = f"{error.part} does not answer."
    except TimeoutError:
        reason = f"{part} does not answer within {LONGEST_CHECK_SECONDS:.0f} s."
    except Exception:  # noqa: BLE001  a check that fails in any way is a part that is not ready
        _log.exception("A readiness check failed", part=part)
        reason = f"{part} does not work; Reelin's log has the details."
    return Check(ok=reason is None, reason=reason)


async def _database(library: Library) -> str | None:
    await library.ping()
    return None


async def _worker(control: WorkflowControl) -> str | None:
    pollers = await control.pollers()
    silent = [queue for queue in TASK_QUEUES if not pollers.get(queue)]
    return f"No worker listens on {', '.join(silent)}. Start one with `reelin worker`." if silent else None


def _room(disk: Disk) -> str | None:
    folder = next(each for each in (disk.folder, *disk.folder.parents) if each.exists())
    if not os.access(folder, os.W_OK):
        return "The media folder cannot be written to."
    room = disk.room()
    return f"Only {amount(room.free)} are free on the disk of the media folder." if room.low else None


def _data_room(disks: Sequence[Disk]) -> str | None:
    for disk in disks:
        room = disk.room()
        if room.low:
            return f"Only {amount(room.free)} are free on the disk of {disk.folder.name}, where a database grows."
    return None
