"""How a download waits for its site, seen from the download's own workflow."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.sites import DONE, Done, site_workflow_id
    from reelin.contracts.work import JobRequest

#: A word of the site that was lost costs so long at most.
ASK_AGAIN = timedelta(seconds=60)


class LeaseWait:
    """One workflow's. The signal may come before anybody waits for it: between asking, in an activity, and the wait."""

    def __init__(self) -> None:
        self._granted = False
        self._stood_in_line = False

    def stands_in_line(self, job: JobRequest) -> bool:
        """Whether the site has been asked already: once at most, by whoever started the workflow."""
        first, self._stood_in_line = not self._stood_in_line, True
        return first and job.in_line

    def grant(self) -> None:
        self._granted = True

    def ask_anew(self) -> None:
        """What was granted before counts no more: the site says it again to whoever asks."""
        self._granted = False

    async def granted(self, job: JobRequest) -> bool:
        """False: ask again. Whoever breaks off the wait gives the place, or the lease, back."""
        workflow.set_current_details(f"**Waiting** for its site: {_code(job.site)}")
        try:
            await workflow.wait_condition(
                lambda: self._granted, timeout=ASK_AGAIN, timeout_summary="Until it asks its site again"
            )
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            await self.give_back(job)
            raise
        return True

    async def give_back(self, job: JobRequest) -> None:
        """The lease, or the place in line."""
        site = workflow.get_external_workflow_handle(site_workflow_id(job.site))
        try:
            await site.signal(DONE, Done(job_id=job.job_id, run=job.run))
        except ApplicationError:
            pass  # there is no such site any more, and so no lease


def _code(text: str) -> str:
    """As Markdown code: it comes from outside and must not become markup in Temporal's UI."""
    return f"`{text.replace('`', '')}`"
