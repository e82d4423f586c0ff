"""A real Temporal server that skips time, so that a day of waiting takes a moment."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from reelin.contracts.failures import Failure
from reelin.contracts.jobs import Kind
from reelin.contracts.sites import WORDS, SiteRequest, Words, site_workflow_id
from reelin.contracts.work import TASK_QUEUES, WORKFLOW_QUEUE, JobOutcome
from reelin.embedded.server import DYNAMIC_CONFIG, find_temporal
from reelin.workflows import (
    WORKFLOWS,
    BulkWorkflow,
    DownloadWorkflow,
    InfoWorkflow,
    PlaylistWorkflow,
    SiteWorkflow,
)
from tests.workflows.script import Cast, Script, SiteScript, job

#: Events after which the server suggests to continue as new; 4,096 would take a test too long.
SUGGEST_NEW_AFTER = 300
SiteHandle = WorkflowHandle[Any, None]

RUNS: dict[Kind, Any] = {
    Kind.VIDEO: DownloadWorkflow.run,
    Kind.INFO: InfoWorkflow.run,
    Kind.PLAYLIST: PlaylistWorkflow.run,
    Kind.BULK: BulkWorkflow.run,
}


class Stage:
    """Runs the real workflows against scripted activities."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._cast = Cast()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Stage]:
        async with contextlib.AsyncExitStack() as stack:
            for queue in TASK_QUEUES:
                workflows = WORKFLOWS if queue == WORKFLOW_QUEUE else ()
                worker = Worker(
                    self.client,
                    task_queue=queue,
                    workflows=workflows,
                    activities=self._cast.activities(),
                )
                await stack.enter_async_context(worker)
            yield self

    async def start(
        self, script: Script, kind: Kind = Kind.VIDEO, *, leased: bool = False
    ) -> WorkflowHandle[Any, JobOutcome]:
        identifier = f"{kind}-{uuid.uuid4().hex}"
        self._cast.scripts[identifier] = script
        request = job(identifier, kind).model_copy(update={"leased": leased})
        return await self.client.start_workflow(RUNS[kind], request, id=identifier, task_queue=WORKFLOW_QUEUE)

    async def tell_site(self, site: str, words: Words, *, max_at_once: int = 4) -> SiteHandle:
        """As the fetch activity does it."""
        return await self.client.start_workflow(
            SiteWorkflow.run,
            SiteRequest(site=site, max_at_once=max_at_once),
            id=site_workflow_id(site),
            task_queue=WORKFLOW_QUEUE,
            start_signal=WORDS,
            start_signal_args=[words],
        )

    def site(self, site: str) -> SiteScript:
        return self._cast.sites[site]

    async def run(self, script: Script, kind: Kind = Kind.VIDEO) -> JobOutcome:
        return await (await self.start(script, kind)).result()

    async def fail(self, script: Script, kind: Kind = Kind.VIDEO) -> Failure:
        """Runs it to its failure."""
        with pytest.raises(WorkflowFailureError) as raised:
            await self.run(script, kind)
        cause = raised.value.cause
        assert isinstance(cause, ApplicationError)
        failure = Failure.model_validate(cause.details[0])
        assert cause.type == failure.kind
        return failure


@pytest.fixture(scope="session")
async def stage() -> AsyncIterator[Stage]:
    config = {
        **DYNAMIC_CONFIG,
        "frontend.WorkflowTimeSkippingEnabled": "true",
        "limit.historyCount.suggestContinueAsNew": str(SUGGEST_NEW_AFTER),
    }
    flags = [word for key, value in config.items() for word in ("--dynamic-config-value", f"{key}={value}")]
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(find_temporal()),
        dev_server_extra_args=flags,
        data_converter=pydantic_data_converter,
    )
    async with environment, Stage(environment.client).open() as opened:
        yield opened
