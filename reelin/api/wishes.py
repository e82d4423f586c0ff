"""Cancel, pause, resume, retry: written down first, then passed on to Temporal. The same for REST, WebSocket and
deletion."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

import structlog

from reelin.api.parts import Parts
from reelin.contracts.work import PAUSE, POKE, RESUME
from reelin.errors import Unavailable
from reelin.library import Granted, JobFilter, JobRecord, Wish

#: Calls to Temporal under way at once.
AT_ONCE = 16
#: So many jobs are told before a request that concerns more is answered; the reconciler passes the others' wishes on.
TOLD_AT_ONCE = 2000
_SIGNALS = {Wish.PAUSE: PAUSE, Wish.RESUME: RESUME}
_log = structlog.get_logger(__name__)


async def grant(
    parts: Parts, wish: Wish, job_id: str, *, keep_partial: bool = False, positions: Collection[int] | None = None
) -> JobRecord:
    """Raises NotFound, Conflict, InvalidInput."""
    job, granted = await parts.library.wishes.one(wish, job_id, keep_partial=keep_partial, positions=positions)
    parts.hub.touch(job_id)
    await _pass_on(parts, wish, granted, [job_id])
    return job


async def grant_all(parts: Parts, wish: Wish, wanted: JobFilter, *, keep_partial: bool = False) -> int:
    """Returns how many jobs it was written down for."""
    matched, told = 0, 0
    batches: set[str] = set()
    async for granted in parts.library.wishes.all(wish, wanted, keep_partial=keep_partial):
        matched += granted.matched
        batches |= granted.batches
        if told < TOLD_AT_ONCE:
            told += len(granted.told) if await _tell(parts, wish, granted.told) else TOLD_AT_ONCE
    await _pass_on(parts, wish, Granted(matched, (), frozenset(batches)))
    return matched


async def tell_sites(parts: Parts, job_id: str, priority: int) -> None:
    """Who stands in a site's line has its priority there too: it stands in the rows, which the site reads again.
    Where Temporal is away, it does so when it is back."""
    try:
        for site in await parts.library.wishes.sites_waited_for(job_id, priority):
            await parts.control.reread_waiters(site)
    except Unavailable as error:
        _log.warning("A priority waits for Temporal", job_id=job_id, reason=error.reason, action="prioritise")


async def end_at_once(parts: Parts, job_id: str) -> None:
    """Cancels, and makes sure that Temporal knows. Raises Unavailable; NotFound; Conflict if it has ended already."""
    _, granted = await parts.library.wishes.one(Wish.CANCEL, job_id)
    await end_workflows(parts, granted.told)


async def end_workflows(parts: Parts, job_ids: Sequence[str]) -> None:
    """Raises Unavailable."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def end(job_id: str) -> None:
        async with slots:
            await parts.control.cancel(job_id)

    await asyncio.gather(*(end(job_id) for job_id in job_ids))


async def _pass_on(parts: Parts, wish: Wish, granted: Granted, job_ids: Sequence[str] = ()) -> None:
    await _tell(parts, wish, granted.told)
    await _tell(parts, Wish.CANCEL, granted.cancelled)
    for batch_id in granted.batches:
        parts.hub.touch(batch_id)
    await _each(granted.batches, lambda batch_id: parts.control.signal(batch_id, POKE), wish)
    if wish in (Wish.RESUME, Wish.RETRY):
        parts.control.submitted(job_ids)


async def _tell(parts: Parts, wish: Wish, job_ids: Sequence[str]) -> bool:
    """Says whether Temporal has heard it. If not, the row remembers, and the reconciler passes it on."""

    async def tell(job_id: str) -> None:
        if wish is Wish.CANCEL:
            await parts.control.cancel(job_id)
        else:
            await parts.control.signal(job_id, _SIGNALS[wish])

    heard = await _each(job_ids, tell, wish)
    if heard and wish is Wish.RESUME:
        await parts.library.wishes.passed_on(job_ids)
    for job_id in job_ids:
        parts.hub.touch(job_id)
    return heard


async def _each(job_ids: Collection[str], call: Callable[[str], Coroutine[Any, Any, None]], wish: Wish) -> bool:
    slots = asyncio.Semaphore(AT_ONCE)
    away: list[Unavailable] = []

    async def one(job_id: str) -> None:
        async with slots:
            if away:
                return
            try:
                await call(job_id)
            except Unavailable as error:
                away.append(error)

    await asyncio.gather(*(one(job_id) for job_id in job_ids))
    if away:
        _log.warning("A wish waits for Temporal", jobs=len(job_ids), reason=away[0].reason, action=wish)
    return not away
