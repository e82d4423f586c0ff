"""Names in a Temporal namespace that several installations share.

Everywhere else a workflow's id is its job's, and a task queue has its plain name. Here, and only here, both get the
mark of their installation on the way to Temporal: `video-1f3a…@9c2e41d0`, `reelin-downloads@9c2e41d0`. So equal jobs of
two installations are two workflows, and no worker sees another one's tasks.

A workflow knows its mark from its own task queue, which its history tells: it is replayed the same anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any, NoReturn, cast

from temporalio import client, worker, workflow
from temporalio.plugin import SimplePlugin

from reelin.contracts.work import WORKFLOW_QUEUE

_DIGITS = 8


class InstallationScope(SimplePlugin):
    """For `Client.connect(plugins=[…])`; the client's workers take it over."""

    def __init__(self, installation: str) -> None:
        self.mark = f"@{installation[:_DIGITS]}"
        super().__init__("reelin.scope", interceptors=[_Interceptor(self.mark)])

    def configure_worker(self, config: worker.WorkerConfig) -> worker.WorkerConfig:
        config = super().configure_worker(config)
        config["task_queue"] = _marked(config["task_queue"], self.mark)
        return config


def mark_of(on: client.Client) -> str:
    """What stands behind each workflow's id in Temporal; empty where a client has the namespace for itself."""
    scopes = (plugin for plugin in on.config()["plugins"] if isinstance(plugin, InstallationScope))
    return next((scope.mark for scope in scopes), "")


def queue_name(on: client.Client, name: str) -> str:
    """What Temporal calls this task queue of `contracts.work`."""
    mark = mark_of(on)
    return _marked(name, mark) if mark else name


def _marked(name: str, mark: str) -> str:
    """Once only: the handle that a start returns has the whole id."""
    return name if name.endswith(mark) else name + mark


class _Interceptor(client.Interceptor, worker.Interceptor):
    def __init__(self, mark: str) -> None:
        self._mark = mark

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _Calls(next, self._mark)

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        return _InWorkflow


class _Calls(client.OutboundInterceptor):
    """What a client says about workflows."""

    def __init__(self, next: client.OutboundInterceptor, mark: str) -> None:
        super().__init__(next)
        self._mark = mark

    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:
        input.task_queue = _marked(input.task_queue, self._mark)
        input.id = _marked(input.id, self._mark)
        return await super().start_workflow(input)

    async def cancel_workflow(self, input: client.CancelWorkflowInput) -> None:
        input.id = _marked(input.id, self._mark)
        await super().cancel_workflow(input)

    async def describe_workflow(self, input: client.DescribeWorkflowInput) -> client.WorkflowExecutionDescription:
        input.id = _marked(input.id, self._mark)
        return await super().describe_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        input.id = _marked(input.id, self._mark)
        await super().signal_workflow(input)

    async def terminate_workflow(self, input: client.TerminateWorkflowInput) -> None:
        input.id = _marked(input.id, self._mark)
        await super().terminate_workflow(input)

    async def query_workflow(self, input: client.QueryWorkflowInput) -> Any:
        input.id = _marked(input.id, self._mark)
        return await super().query_workflow(input)

    async def start_workflow_update(self, input: client.StartWorkflowUpdateInput) -> client.WorkflowUpdateHandle[Any]:
        input.id = _marked(input.id, self._mark)
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: client.StartWorkflowUpdateWithStartInput
    ) -> client.WorkflowUpdateHandle[Any]:
        start = input.start_workflow_input
        start.task_queue = _marked(start.task_queue, self._mark)
        start.id = _marked(start.id, self._mark)
        return await super().start_update_with_start_workflow(input)

    def fetch_workflow_history_events(
        self, input: client.FetchWorkflowHistoryEventsInput
    ) -> client.WorkflowHistoryEventAsyncIterator:
        input.id = _marked(input.id, self._mark)
        return super().fetch_workflow_history_events(input)

    def list_workflows(self, input: client.ListWorkflowsInput) -> client.WorkflowExecutionAsyncIterator:
        """This installation's, by their plain ids."""
        input.query = self._ours(input.query)
        return cast("client.WorkflowExecutionAsyncIterator", _Found(super().list_workflows(input), self._mark))

    async def count_workflows(self, input: client.CountWorkflowsInput) -> client.WorkflowExecutionCount:
        input.query = self._ours(input.query)
        return await super().count_workflows(input)

    def _ours(self, query: str | None) -> str:
        ours = f"TaskQueue = '{_marked(WORKFLOW_QUEUE, self._mark)}'"
        return f"({query}) AND {ours}" if query else ours


class _Found:
    def __init__(self, found: client.WorkflowExecutionAsyncIterator, mark: str) -> None:
        self._found = found
        self._mark = mark

    async def __aiter__(self) -> AsyncIterator[client.WorkflowExecution]:
        async for each in self._found:
            yield dataclasses.replace(each, id=each.id.removesuffix(self._mark))


class _InWorkflow(worker.WorkflowInboundInterceptor):
    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_FromWorkflow(outbound))


class _FromWorkflow(worker.WorkflowOutboundInterceptor):
    """What a workflow starts and says."""

    def start_activity(self, input: worker.StartActivityInput) -> workflow.ActivityHandle[Any]:
        if input.task_queue is not None:
            input.task_queue = _marked(input.task_queue, _mark_of_this())
        return super().start_activity(input)

    async def start_child_workflow(
        self, input: worker.StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        input.id = _marked(input.id, _mark_of_this())
        if input.task_queue is not None:
            input.task_queue = _marked(input.task_queue, _mark_of_this())
        return await super().start_child_workflow(input)

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        if input.task_queue is not None:
            input.task_queue = _marked(input.task_queue, _mark_of_this())
        super().continue_as_new(input)

    async def signal_external_workflow(self, input: worker.SignalExternalWorkflowInput) -> None:
        input.workflow_id = _marked(input.workflow_id, _mark_of_this())
        await super().signal_external_workflow(input)


def _mark_of_this() -> str:
    _, at, digits = workflow.info().task_queue.partition("@")
    return at + digits
