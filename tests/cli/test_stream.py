from __future__ import annotations

import pytest

from reelin.cli.client import Client
from reelin.cli.endpoint import Endpoint
from reelin.cli.problems import ApiProblem, NoApi
from reelin.cli.stream import PATIENCE_SECONDS, follow
from reelin.contracts.jobs import State
from tests.cli.api import DROP, END, HOLD, READY, Api, a_job, completed, event, not_reelin, problem, running

ONE, TWO = a_job(1), a_job(2)
PATH = f"/api/jobs/{ONE.id}/events"


def no_sleep(_seconds: float) -> None:
    pass


def test_a_job_is_followed_until_it_is_final(api: Api, client: Client) -> None:
    api.add(ONE)
    api.streams[PATH] = [[event(ONE), event(running(ONE, 50, 2)), event(completed(ONE)), END]]
    states = [job.state for job in follow(client, [ONE.id])]
    assert states == [State.QUEUED, State.RUNNING, State.COMPLETED]


def test_events_that_are_not_newer_are_dropped(api: Api, client: Client) -> None:
    api.add(ONE)
    script = [event(running(ONE, 50, 5)), event(running(ONE, 40, 4)), event(running(ONE, 50, 5))]
    api.streams[PATH] = [[*script, event(completed(ONE)), END]]
    assert [job.version for job in follow(client, [ONE.id])] == [5, 99]


@pytest.mark.parametrize("broken", [[DROP], []], ids=["cut off", "closed"])
def test_a_broken_stream_is_taken_up_again_where_it_stood(api: Api, client: Client, broken: list[str]) -> None:
    api.add(running(ONE, 50, 2))
    again = [event(running(ONE, 75, 3)), event(completed(ONE)), END]
    api.streams[PATH] = [[event(running(ONE, 50, 2), identifier="abc"), *broken], again]
    assert [job.version for job in follow(client, [ONE.id], sleep=no_sleep)] == [2, 3, 99]
    assert [request.headers.get("last-event-id") for request in api.asked("GET", PATH)] == [None, "abc"]


def test_what_was_missed_during_a_break_is_asked_for(api: Api, client: Client) -> None:
    api.add(completed(ONE))
    api.streams[PATH] = [[event(running(ONE, 50, 2)), DROP]]
    assert [job.version for job in follow(client, [ONE.id], sleep=no_sleep)] == [2, 99]
    assert len(api.asked("GET", PATH)) == 1


def test_without_any_stream_the_job_is_asked_for_again_and_again(api: Api, client: Client) -> None:
    api.add(ONE)
    api.answers[f"GET {PATH}"] = not_reelin()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            api.add(completed(ONE))

    assert [job.version for job in follow(client, [ONE.id], sleep=sleep)] == [1, 99]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.0]


def test_several_jobs_share_one_stream(api: Api, client: Client) -> None:
    api.add(ONE, TWO)
    other = a_job(3)
    script = [event(ONE), event(other), event(TWO), READY, event(completed(TWO)), event(completed(ONE)), HOLD]
    api.streams["/api/events"] = [script]
    jobs = list(follow(client, [ONE.id, TWO.id]))
    assert [(job.id, job.state) for job in jobs] == [
        (ONE.id, State.QUEUED),
        (TWO.id, State.QUEUED),
        (TWO.id, State.COMPLETED),
        (ONE.id, State.COMPLETED),
    ]


def test_a_job_that_was_final_before_the_stream_began_is_not_waited_for(api: Api, client: Client) -> None:
    api.add(ONE, completed(TWO))
    api.streams["/api/events"] = [[event(ONE), READY, event(completed(ONE)), HOLD]]
    assert {job.id for job in follow(client, [ONE.id, TWO.id]) if job.state.final} == {ONE.id, TWO.id}
    assert api.asked("GET", f"/api/jobs/{ONE.id}") == []


def test_jobs_that_are_submitted_meanwhile_are_adopted_but_not_the_items_of_batches(api: Api, client: Client) -> None:
    item = a_job(3, parent_id="bulk-1")
    script = [event(ONE), READY, event(TWO), event(item), event(completed(ONE)), event(completed(TWO)), HOLD]
    api.add(ONE)
    api.streams["/api/events"] = [script]
    assert {job.id for job in follow(client, [ONE.id], adopt=True)} == {ONE.id, TWO.id}


@pytest.mark.parametrize("word", [f'event: deleted\ndata: {{"id": "{ONE.id}"}}\n\n', DROP], ids=["told", "cut off"])
def test_a_job_that_was_deleted_is_no_longer_waited_for(api: Api, client: Client, word: str) -> None:
    other = 'event: deleted\ndata: {"id": "another"}\n\nevent: of the future\ndata: {}\n\n'
    api.streams[PATH] = [[event(ONE), other, word, HOLD]]
    assert [job.state for job in follow(client, [ONE.id], sleep=no_sleep)] == [State.QUEUED]


def test_an_event_that_cannot_be_read_does_no_harm(api: Api, client: Client) -> None:
    api.add(ONE)
    api.streams[PATH] = [["event: job\ndata: {nonsense\n\n", event(completed(ONE)), END]]
    assert [job.state for job in follow(client, [ONE.id])][-1] == State.COMPLETED


def test_an_api_that_stays_away_is_given_up_after_a_minute() -> None:
    pauses: list[float] = []
    with Client(Endpoint("http://127.0.0.1:9", "a test")) as client, pytest.raises(NoApi):
        list(follow(client, [ONE.id], sleep=pauses.append))
    assert PATIENCE_SECONDS <= sum(pauses) <= PATIENCE_SECONDS + 3


def test_a_refusal_is_not_tried_again(api: Api, client: Client) -> None:
    api.answers[f"GET {PATH}"] = problem(401, "The token is wrong.")
    api.answers[f"GET /api/jobs/{ONE.id}"] = problem(401, "The token is wrong.")
    with pytest.raises(ApiProblem, match="The token is wrong"):
        list(follow(client, [ONE.id], sleep=no_sleep))
