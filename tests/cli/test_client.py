from __future__ import annotations

import socket

import pytest

from reelin.cli.client import Client
from reelin.cli.endpoint import Endpoint
from reelin.cli.problems import ApiProblem, Missing, NoApi
from tests.cli.api import Api, a_job, not_reelin, problem


def test_lists_are_read_page_by_page(api: Api, client: Client) -> None:
    api.page_size = 2
    api.add(*(a_job(number) for number in range(5)))
    assert len(list(client.jobs({}))) == 5
    assert [request.query_params.get("cursor") for request in api.requests] == [None, "2", "4"]


def test_no_more_is_asked_for_than_wanted(api: Api, client: Client) -> None:
    api.add(*(a_job(number) for number in range(5)))
    assert len(list(client.jobs({"state": ["queued", "failed"]}, limit=3))) == 3
    (request,) = api.requests
    assert request.query_params.multi_items() == [("state", "queued"), ("state", "failed"), ("limit", "3")]


def test_the_token_travels_as_a_bearer_token(api: Api) -> None:
    api.add(a_job())
    with Client(Endpoint(api.url, "a test", token="a-secret-token")) as client:
        client.job(a_job().id)
    assert api.requests[0].headers["authorization"] == "Bearer a-secret-token"
    assert "a-secret-token" not in repr(client.endpoint)


def test_a_token_of_any_characters_is_no_traceback(api: Api) -> None:
    api.add(a_job())
    with Client(Endpoint(api.url, "a test", token="geheïm-日本")) as client:
        client.job(a_job().id)
    assert api.requests[0].headers["authorization"].encode("latin-1").decode() == "Bearer geheïm-日本"


def test_a_problem_has_a_line_for_each_error(api: Api, client: Client) -> None:
    errors = (
        {"field": "options.folder", "message": "Not allowed.", "remedy": "Use another."},
        {"field": "", "message": "Odd.", "remedy": ""},
    )
    api.answers["POST /api/jobs"] = problem(422, "The request is not valid.", *errors)
    with pytest.raises(ApiProblem) as caught:
        client.submit({"url": "https://example.org"})
    assert caught.value.lines == ("options.folder: Not allowed. Use another.", "Odd.")


def test_a_problem_without_errors_is_told_by_its_detail(api: Api, client: Client) -> None:
    with pytest.raises(Missing, match=r"There is no jobs/nothing\."):
        client.job("nothing")


def test_a_job_id_cannot_reach_another_path(api: Api, client: Client) -> None:
    with pytest.raises(Missing):
        client.job("../videos?x=1")
    assert api.requests[0].url.query == ""
    assert api.requests[0].scope["raw_path"] == b"/api/jobs/..%2Fvideos%3Fx%3D1"


def test_a_server_that_is_not_reelin_is_told_apart(api: Api, client: Client) -> None:
    api.answers["GET /api/jobs/x"] = not_reelin()
    with pytest.raises(NoApi, match="HTTP 404, but not as Reelin"):
        client.job("x")


def test_an_answer_of_another_shape_is_told_apart(api: Api, client: Client) -> None:
    api.answers["GET /api/jobs/x"] = problem(200, "fine")
    with pytest.raises(NoApi, match="not as Reelin"):
        client.job("x")


def test_nobody_listening_is_one_line_with_what_was_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(Endpoint(f"http://127.0.0.1:{port}", "given by --url")) as client, pytest.raises(NoApi) as caught:
        client.job("x")
    assert str(caught.value) == (
        f"Reelin does not answer at http://127.0.0.1:{port} (given by --url): Connection refused. "
        "Start it with `reelin up`."
    )


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    api.add(a_job())
    with Client(Endpoint(api.url, "a test")) as client:
        assert client.job(a_job().id).id == a_job().id
