"""How a batch keeps its items in flight, and how it ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from reelin.contracts.failures import Failure, FailureKind
from reelin.contracts.jobs import Counts, Kind, State
from reelin.contracts.work import CALL_OFF, PAUSE, POKE, RESUME, Advance
from tests.workflows.conftest import Stage
from tests.workflows.script import EXPANDED, Script, failing
from tests.workflows.test_pause import until

FLYING = Advance(in_flight=50, in_line=True)
#: The first look: nothing is listed yet, or some of it.
NOTHING_YET = Advance(listing=True)
SOME_FLY = Advance(in_flight=50, in_line=True, listing=True)


@pytest.mark.parametrize("kind", [Kind.PLAYLIST, Kind.BULK])
async def test_a_batch_looks_at_its_items_whenever_it_is_poked_until_none_is_left(stage: Stage, kind: Kind) -> None:
    counts = Counts(total=3, completed=2, failed=1)
    script = Script([EXPANDED], advances=[SOME_FLY, FLYING, FLYING, Advance(over=State.PARTIAL, counts=counts)])
    handle = await stage.start(script, kind)
    for looks in (2, 3):
        await until(lambda looks=looks: script.advanced == looks)
        await handle.signal(POKE)
    outcome = await handle.result()
    assert (outcome.state, outcome.counts) == (State.PARTIAL, counts)
    assert script.advanced == 4


@pytest.mark.parametrize("kind", [Kind.PLAYLIST, Kind.BULK])
async def test_items_go_while_others_are_still_being_listed(stage: Stage, kind: Kind) -> None:
    """Listing ends only after the fifth look."""
    script = Script([EXPANDED], advances=[NOTHING_YET, *[SOME_FLY] * 5, Advance(over=State.COMPLETED)], listed_after=5)
    handle = await stage.start(script, kind)
    for looks in range(1, 6):
        await until(lambda looks=looks: script.advanced >= looks)
        assert not script.attempts or script.advanced >= 5
        await handle.signal(POKE)
    assert (await handle.result()).state is State.COMPLETED


async def test_a_batch_of_which_nothing_is_listed_yet_waits_without_looking(stage: Stage) -> None:
    """However long its site makes it wait: the history of a day would be long."""
    tomorrow = failing(FailureKind.NOT_LIVE_YET, retry_after_seconds=86_400)
    script = Script([tomorrow, EXPANDED], advances=[NOTHING_YET, Advance(over=State.COMPLETED)], listed_after=1)
    await stage.run(script, Kind.PLAYLIST)
    assert script.delays() > [timedelta(hours=23)]
    assert script.advanced == 2


async def test_what_is_listed_runs_when_listing_the_rest_is_given_up(stage: Stage) -> None:
    over = Advance(over=State.PARTIAL, counts=Counts(total=50, completed=50))
    script = Script([failing(FailureKind.NOT_FOUND)], advances=[SOME_FLY, FLYING, over], listed_after=1)
    handle = await stage.start(script, Kind.PLAYLIST)
    await until(lambda: script.advanced == 2)
    [given_up] = script.gave_up
    assert given_up.failure.kind is FailureKind.NOT_FOUND
    assert not script.failed, "it has not failed while its items run"
    await handle.signal(POKE)
    assert (await handle.result()).state is State.PARTIAL


async def test_a_batch_that_nobody_pokes_looks_after_half_a_minute_by_itself(stage: Stage) -> None:
    script = Script([EXPANDED], advances=[SOME_FLY, FLYING, Advance(over=State.COMPLETED)])
    handle = await stage.start(script, Kind.BULK)
    await handle.result()
    description = await handle.describe()
    assert description.close_time is not None
    assert description.close_time - description.start_time >= timedelta(seconds=30)


async def test_a_playlist_that_cannot_be_looked_at_is_tried_again_and_then_fails(stage: Stage) -> None:
    script = Script(
        [failing(FailureKind.NETWORK), EXPANDED], advances=[NOTHING_YET, Advance(over=State.COMPLETED)], listed_after=1
    )
    assert (await stage.run(script, Kind.PLAYLIST)).state is State.COMPLETED
    assert len(script.waits) == 1
    private = Failure(kind=FailureKind.PRIVATE, message="It is private.", remedy="", retryable=False)
    over = Advance(over=State.FAILED, failure=private)
    script = Script([failing(FailureKind.PRIVATE)], advances=[NOTHING_YET, over], listed_after=1)
    assert await stage.fail(script, Kind.PLAYLIST) == private
    assert len(script.gave_up) == 1


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
    script = Script(["hang"], advances=[SOME_FLY])
    handle = await stage.start(script, Kind.PLAYLIST)
    await until(lambda: script.attempts)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert script.called_off == 1 and script.cancelled
    happened = [_what(event) for event in (await handle.fetch_history()).events]
    assert happened.index("cancelled") < happened.index(CALL_OFF), "what is listed after that would be left over"


def _what(event: HistoryEvent) -> str:
    """The activity that begins, or that one of them was cancelled."""
    if event.HasField("activity_task_canceled_event_attributes"):
        return "cancelled"
    return event.activity_task_scheduled_event_attributes.activity_type.name


async def test_a_batch_that_is_paused_while_it_is_listed_lists_the_rest_when_it_is_resumed(stage: Stage) -> None:
    paused = Advance(paused=True)
    script = Script(["hang", EXPANDED], advances=[SOME_FLY, paused, SOME_FLY, FLYING, Advance(over=State.COMPLETED)])
    handle = await stage.start(script, Kind.BULK)
    await until(lambda: script.attempts)
    await handle.signal(PAUSE)
    await until(lambda: script.paused and script.advanced == 2)
    assert len(script.attempts) == 1
    await handle.signal(RESUME)
    await until(lambda: script.advanced >= 4)
    assert [attempt.number for attempt in script.attempts] == [1, 1], "a pause uses no attempt"
    await handle.signal(POKE)
    assert (await handle.result()).state is State.COMPLETED


async def test_a_batch_that_takes_long_to_list_begins_new_histories_too(stage: Stage) -> None:
    script = Script(["hang", EXPANDED], advances=[*[SOME_FLY] * 60, Advance(over=State.COMPLETED)])
    handle = await stage.start(script, Kind.BULK)
    await until(lambda: script.attempts)
    for looks in range(1, 61):
        await until(lambda looks=looks: script.advanced >= looks)
        await stage.client.get_workflow_handle(handle.id).signal(POKE)
    assert (await handle.result()).state is State.COMPLETED
    assert len(script.attempts) >= 2, "the next history goes on with the list"


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
