"""What the API asks of Temporal: a seam, so that routes know no client and no connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from reelin.contracts.model import Message
from reelin.contracts.sites import Configure


class Queue(Message):
    """A task queue."""

    backlog: int = Field(description="Tasks that no worker has taken yet")
    oldest_seconds: float = Field(description="How long the oldest of them waits")
    workers: int = Field(description="That listen")


class WorkflowControl(Protocol):
    def submitted(self, job_ids: Sequence[str]) -> None:
        """Wakes the dispatcher; returns at once. The rows are committed, so a call that is lost costs time only."""

    async def cancel(self, job_id: str) -> None:
        """Asks for the workflow's end; nothing happens if Temporal does not know it. Raises Unavailable."""

    async def signal(self, job_id: str, name: str) -> None:
        """Sends a signal (`contracts.work`); nothing happens if Temporal does not know the workflow.

        Raises Unavailable.
        """

    async def configure_site(self, site: str, settings: Configure) -> None:
        """Tells the site's workflow what people set; nothing happens if there is none just now. Raises Unavailable."""

    async def reread_waiters(self, site: str) -> None:
        """Tells the site's workflow that who waits for it, or how urgently, has changed. Raises Unavailable."""

    async def check(self) -> str | None:
        """Why Temporal is not ready, or None."""

    async def pollers(self) -> dict[str, int]:
        """Workers by task queue. Raises Unavailable."""

    async def queues(self) -> dict[str, Queue]:
        """The task queues by name. Raises Unavailable."""
