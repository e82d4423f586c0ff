"""A job that does nothing but count how often its site lets it in."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from reelin.contracts.work import LEASE_GRANTED


@workflow.defn
class HolderWorkflow:
    def __init__(self) -> None:
        self._told = 0

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal(name=LEASE_GRANTED)
    def granted(self) -> None:
        self._told += 1

    @workflow.query
    def told(self) -> int:
        return self._told
