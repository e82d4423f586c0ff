"""What the API asks of Temporal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from reelin.api.control import Queue
from reelin.api.dispatcher import Dispatcher
from reelin.contracts.model import Message
from reelin.contracts.sites import CONFIGURE, WORDS, Configure, Words, site_workflow_id
from reelin.contracts.work import TASK_QUEUES, WORKFLOW_QUEUE
from reelin.errors import Unavailable
from reelin.process import Attention
from reelin.rpc import TEMPORAL_AWAY, classify_rpc_error, first_line
from reelin.scope import queue_name

#: The wish to cancel is stored already: whoever asked need not wait for a Temporal that hangs.
PATIENCE = timedelta(seconds=2)


class TemporalControl:
    """`api.control.WorkflowControl` on a real Temporal client."""

    def __init__(self, client: Client, dispatcher: Dispatcher, attention: Attention) -> None:
        self._client = client
        self._attention = attention
        self._dispatcher = dispatcher

    def submitted(self, job_ids: Sequence[str]) -> None:
        self._attention.called()
        self._dispatcher.wake()

    async def cancel(self, job_id: str) -> None:
        """Asks Temporal to cancel; nothing happens where it does not know the workflow. Raises Unavailable."""
        with _answered():
            await self._client.get_workflow_handle(job_id).cancel(rpc_timeout=PATIENCE)

    async def signal(self, job_id: str, name: str) -> None:
        """Nothing happens where Temporal does not know the workflow. Raises Unavailable."""
        with _answered():
            await self._client.get_workflow_handle(job_id).signal(name, rpc_timeout=PATIENCE)

    async def configure_site(self, site: str, settings: Configure) -> None:
        """Raises Unavailable."""
        await self._tell_site(site, CONFIGURE, settings)

    async def reread_waiters(self, site: str) -> None:
        """Raises Unavailable."""
        await self._tell_site(site, WORDS, Words(reread=True))

    async def _tell_site(self, site: str, name: str, message: Message) -> None:
        with _answered():
            handle = self._client.get_workflow_handle(site_workflow_id(site))
            await handle.signal(name, message, rpc_timeout=PATIENCE)

    async def check(self) -> str | None:
        """Why Temporal is not ready, or None."""
        try:
            healthy = await self._client.service_client.check_health()
            await self._queue(WORKFLOW_QUEUE)  # the server may be well and the namespace not be there
        except TEMPORAL_AWAY as error:
            return classify_rpc_error(error, self._client.namespace).reason
        return self._dispatcher.trouble if healthy else "Temporal says that it is not serving."

    async def pollers(self) -> dict[str, int]:
        """How many workers listen on each task queue. Raises Unavailable."""
        return {name: queue.workers for name, queue in (await self.queues()).items()}

    async def queues(self) -> dict[str, Queue]:
        """Raises Unavailable."""
        with _answered():
            return {name: await self._queue(name) for name in TASK_QUEUES}
        raise Unavailable("Temporal", "its namespace is unknown")

    async def _queue(self, name: str) -> Queue:
        workflows = name == WORKFLOW_QUEUE
        kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
        described = await self._client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=TaskQueue(name=queue_name(self._client, name)),
                task_queue_type=kind,
                report_stats=True,
            )
        )
        stats = described.stats
        return Queue(
            backlog=stats.approximate_backlog_count,
            oldest_seconds=stats.approximate_backlog_age.ToMilliseconds() / 1000,
            workers=len(described.pollers),
        )


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """What Temporal does not know is passed over; a Temporal that does not answer is Unavailable."""
    try:
        yield
    except TEMPORAL_AWAY as error:
        if not (isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND):
            raise Unavailable("Temporal", first_line(error)) from error
