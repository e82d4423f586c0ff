"""How a download waits for its site, seen from its own workflow: its row stands in the line, and it sleeps."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.work import JobRequest


class LeaseWait:
    """One workflow's. The signal may come before anybody waits for it: between asking, in an activity, and the wait.

    It says no more than that it is worth trying: the row says whether the job has a lease. So whatever may have changed
    the row wakes the workflow, and nothing else does, however long the line is.
    """

    def __init__(self) -> None:
        self._woken = False

    @property
    def woken(self) -> bool:
        return self._woken

    def wake(self) -> None:
        self._woken = True

    def expect(self) -> None:
        """What was said before counts no more: whoever stands in line from now on is told again."""
        self._woken = False

    async def until_woken(self, job: JobRequest) -> None:
        workflow.set_current_details(f"**Waiting** for its site: {_code(job.site)}")
        await workflow.wait_condition(lambda: self._woken)


def _code(text: str) -> str:
    """As Markdown code: it comes from outside and must not become markup in Temporal's UI."""
    return f"`{text.replace('`', '')}`"
