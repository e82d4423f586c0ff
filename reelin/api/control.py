"""What the API asks of Temporal: a seam, so that routes know no client and no connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reelin.contracts.sites import Configure


class WorkflowControl(Protocol):
    def submitted(self, job_ids: Sequence[str]) -> None:
        """Wakes the dispatcher; returns at once. The rows are committed, so a call that is lost costs time only."""

    async def cancel(self, job_id: str) -> None:
        """Asks for the workflow's end; nothing happens if Temporal does not know it. Raises Unavailable."""

    async def configure_site(self, site: str, settings: Configure) -> None:
        """Tells the site's workflow what people set; nothing happens if there is none just now. Raises Unavailable."""

    async def check(self) -> str | None:
        """Why Temporal is not ready, or None."""

    async def pollers(self) -> dict[str, int]:
        """Workers by task queue. Raises Unavailable."""
