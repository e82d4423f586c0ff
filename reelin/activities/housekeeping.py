"""What a worker does in its media folder beside the downloads: it tidies up, and looks for what is gone or is back."""

from __future__ import annotations

import asyncio
import time

import structlog

from reelin.activities.media import MediaFolder
from reelin.activities.presence import Presence
from reelin.activities.scratch import Scratch
from reelin.errors import MediaFailure
from reelin.library import Library

log = structlog.get_logger(__name__)

SECONDS_BETWEEN_LOOKS = 30.0
SECONDS_BETWEEN_SWEEPS = 600.0


class Housekeeping:
    """Nothing of it where the folder is not as it should be; that is said once, and once more when it is."""

    def __init__(self, library: Library, media: MediaFolder, scratch: Scratch) -> None:
        self._library = library
        self._media = media
        self._scratch = scratch
        self._presence = Presence(media)
        self._next_sweep = 0.0
        self._trouble: str | None = None

    async def run(self) -> None:
        """For as long as the worker lives."""
        while True:
            await self.look()
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def look(self) -> None:
        try:
            async with self._media.in_use():
                self._note(None)
                if time.monotonic() >= self._next_sweep:
                    await self._sweep()
                    self._next_sweep = time.monotonic() + SECONDS_BETWEEN_SWEEPS
                await self._presence.welcome(self._library)
                await self._presence.compare(self._library)
        except MediaFailure as failure:
            self._note(failure.message)
        except OSError as error:
            log.warning("the media folder was not swept", reason=error.strerror)

    async def _sweep(self) -> None:
        dropped = await self._scratch.sweep(self._library)
        if dropped:
            log.info("dropped partial files that nobody needs", folders=dropped)
        await self._presence.sweep(self._library)

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._trouble:
            log.warning("nothing is fetched into the media folder", reason=trouble)
        if trouble is None and self._trouble is not None:
            log.info("the media folder is as it should be again")
        self._trouble = trouble
