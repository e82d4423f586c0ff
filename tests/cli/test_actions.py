"""`reelin cancel`, `pause`, `resume`, `retry`, `priority`: by id, or by a filter."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.api import Api, a_job, a_list, problem

Reelin = Callable[..., int]
Captured = pytest.CaptureFixture[str]
ONE = a_job(1)


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["retry", "--failure", "rate_limited"], "retry", {"failure": "rate_limited"}),
        (["retry", "--all"], "retry", {"state": ["failed"]}),
        (["retry", "--all", "--state", "cancelled"], "retry", {"state": ["cancelled"]}),
        (
            ["pause", "--parent", "bulk-bbbb", "--state", "running"],
            "pause",
            {"parent": a_list().id, "state": ["running"]},
        ),
        (["pause", "--all"], "pause", {"all": True}),
        (["resume", "--site", "example.org"], "resume", {"site": "example.org"}),
        (["cancel", "-q", "talk", "--kind", "video"], "cancel", {"kind": "video", "q": "talk", "keep_partial": False}),
    ],
)
def test_a_filter_acts_on_all_that_it_meets(
    api: Api, reelin: Reelin, capsys: Captured, arguments: list[str], path: str, body: dict[str, object]
) -> None:
    api.add(a_list())
    api.matched = 1200
    assert reelin(*arguments) == 0
    assert len(api.asked("POST", f"/api/jobs/{path}")) == 1
    assert api.bodies == [body]
    assert capsys.readouterr().out == f"{path}: 1,200 jobs.\n"


def test_a_filter_that_meets_nothing_says_so(reelin: Reelin, capsys: Captured) -> None:
    assert reelin("retry", "--failure", "dns") == 0
    assert capsys.readouterr().out == "No job fits in a state that allows it.\n"


def test_a_program_gets_the_number(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.matched = 3
    assert reelin("pause", "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"matched": 3}


@pytest.mark.parametrize(
    "arguments",
    [
        ["cancel"],
        ["cancel", ONE.id, "--all"],
        ["pause", ONE.id, "--state", "running"],
        ["resume", "--all", "--site", "example.org"],
        ["resume", "--all", "--positions", "1"],
        ["resume", ONE.id, "--positions", "0"],
        ["resume", ONE.id, "--positions", "3-1"],
        ["resume", ONE.id, "--positions", "one"],
        ["priority", ONE.id, "9"],
    ],
)
def test_neither_nor_and_both_are_wrong_calls(api: Api, reelin: Reelin, arguments: list[str]) -> None:
    api.add(ONE)
    assert reelin(*arguments) == 2
    assert [request for request in api.requests if request.method != "GET"] == []


def test_positions_of_a_preview_are_spelled_out(api: Api, reelin: Reelin) -> None:
    api.add(ONE)
    assert reelin("resume", "video-00000001", "--positions", "9, 1,4-6,5") == 0
    assert api.bodies == [{"positions": [1, 4, 5, 6, 9]}]


def test_a_refusal_is_told_with_the_reason(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE)
    api.answers[f"POST /api/jobs/{ONE.id}/pause"] = problem(409, "The job is completed already.")
    assert reelin("pause", ONE.id) == 1
    assert capsys.readouterr().err == f"✗ {ONE.id}: The job is completed already.\n"


def test_a_job_comes_sooner(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(ONE)
    assert reelin("priority", ONE.id, "1") == 0
    assert api.bodies == [{"priority": 1}]
    assert capsys.readouterr().out == "video-00000001  priority 1  https://example.org/1\n"
