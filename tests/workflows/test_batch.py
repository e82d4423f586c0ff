"""How a batch keeps its items in flight, and how it ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Counts, Kind, State
from reelin.contracts.work import POKE, Advance
from tests.workflows.conftest import Stage
from tests.workflows.script import EXPANDED, Script, failing
from tests.workflows.test_pause import until

FLYING = Advance(in_flight=50, in_line=True)


@pytest.mark.parametrize("kind", [Kind.PLAYLIST, Kind.BULK])
async def test_a_batch_looks_at_its_items_whenever_it_is_poked_until_none_is_left(stage: Stage, kind: Kind) -> None:
    counts = Counts(total=3, completed=2, failed=1)
    script = Script([EXPANDED], advances=[FLYING, FLYING, Advance(over=State.PARTIAL, counts=counts)])
    handle = await stage.start(script, kind)
    for looks in (1, 2):
        await until(lambda looks=looks: script.advanced == looks)
        await handle.signal(POKE)
    outcome = await handle.result()
    assert (outcome.state, outcome.counts) == (State.PARTIAL, counts)
    assert script.advanced == 3


async def test_a_batch_that_nobody_pokes_looks_after_half_a_minute_by_itself(stage: Stage) -> None:
    script = Script([EXPANDED], advances=[FLYING, Advance(over=State.COMPLETED)])
    handle = await stage.start(script, Kind.BULK)
    await handle.result()
    description = await handle.describe()
    assert description.close_time is not None
    assert description.close_time - description.start_time >= timedelta(seconds=30)


async def test_a_playlist_that_cannot_be_looked_at_is_tried_again_and_then_fails(stage: Stage) -> None:
    script = Script([failing(FailureKind.NETWORK), EXPANDED])
    assert (await stage.run(script, Kind.PLAYLIST)).state is State.COMPLETED
    assert len(script.waits) == 1
    failure = await stage.fail(Script([failing(FailureKind.PRIVATE)]), Kind.PLAYLIST)
    assert failure.kind == FailureKind.PRIVATE


async def test_a_cancelled_batch_waits_until_its_items_have_ended(stage: Stage) -> None:
    script = Script([EXPANDED], advances=[FLYING], call_offs=[Advance(in_flight=2), Advance(over=State.CANCELLED)])
    handle = await stage.start(script, Kind.BULK)
    await until(lambda: script.advanced)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert script.called_off == 2 and script.cancelled


async def test_a_playlist_is_cancelled_while_it_is_looked_at(stage: Stage) -> None:
    script = Script(["hang"])
    handle = await stage.start(script, Kind.PLAYLIST)
    await until(lambda: script.attempts)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert script.called_off == 1 and script.cancelled


async def test_a_long_batch_begins_new_histories(stage: Stage) -> None:
    """The stage's server suggests it after 300 events."""
    script = Script([EXPANDED], advances=[*[FLYING] * 60, Advance(over=State.COMPLETED)])
    handle = await stage.start(script, Kind.BULK)
    first = handle.first_execution_run_id
    for looks in range(1, 61):
        await until(lambda looks=looks: script.advanced >= looks)
        await stage.client.get_workflow_handle(handle.id).signal(POKE)
    assert (await handle.result()).state is State.COMPLETED
    description = await stage.client.get_workflow_handle(handle.id).describe()
    assert description.run_id != first
    assert description.history_length < 400
