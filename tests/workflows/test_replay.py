"""Workflows that were started by an earlier Reelin must still run on this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from reelin.contracts.work import DOWNLOAD_WORKFLOW, INFO_WORKFLOW, SITE_WORKFLOW
from reelin.workflows import WORKFLOWS

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)
    history = WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8"))
    await replayer.replay_workflow(history)


def test_every_workflow_has_a_recorded_history() -> None:
    types = {
        json.loads(path.read_text(encoding="utf-8"))["events"][0]["workflowExecutionStartedEventAttributes"][
            "workflowType"
        ]["name"]
        for path in HISTORIES
    }
    assert types == {DOWNLOAD_WORKFLOW, INFO_WORKFLOW, SITE_WORKFLOW}
    assert len(types) == len(WORKFLOWS)
