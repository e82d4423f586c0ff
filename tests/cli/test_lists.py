"""`reelin get` with several URLs, a list, a playlist, a preview; and what is shown of a batch."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reelin.contracts.failures import Failure
from reelin.contracts.jobs import Counts, Job, Kind, State
from tests.cli.api import END, HOLD, Api, a_job, a_list, completed, ended, event, failed, item, problem, running

Reelin = Callable[..., int]
Captured = pytest.CaptureFixture[str]
BATCH = a_list()
EVENTS = f"/api/jobs/{BATCH.id}/events"
DONE = ended(a_list(completed=8, skipped=2))
URLS = ("https://example.org/1", "https://example.org/2")


def query(api: Api) -> dict[str, str]:
    return dict(api.asked("POST", "/api/jobs")[0].query_params)


def test_several_urls_are_one_list_that_is_followed_with_its_items(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(BATCH)
    first = item(completed(a_job(1)))
    api.streams[EVENTS] = [[event(BATCH), event(item(running(a_job(1), 50, 2))), event(first), event(DONE), END]]
    assert reelin("get", "--priority", "1", *URLS) == 0
    assert api.bodies == ["https://example.org/1\nhttps://example.org/2"]
    assert query(api) == {"preset": "best", "options": "{}", "priority": "1", "force": "false", "skip_invalid": "false"}
    assert api.asked("GET", EVENTS)[0].query_params["items"] == "true"
    shown = capsys.readouterr().out
    assert "✓ A clip  1.1 MB\n" in shown
    assert shown.endswith("✓ 10 URLs\n    10/10: 8 done, 2 skipped\n")


def test_what_failed_is_listed_with_kind_and_remedy_and_how_to_try_just_that_again(
    api: Api, reelin: Reelin, capsys: Captured
) -> None:
    partial = ended(a_list(completed=8, failed=2), State.PARTIAL)
    api.add(BATCH, *(item(failed(a_job(n)), n) for n in (3, 7)))
    api.streams[EVENTS] = [[event(partial), END]]
    assert reelin("get", *URLS) == 1
    assert capsys.readouterr().out.splitlines()[-7:] == [
        "2 of 10 failed:",
        "  #3  https://example.org/3",
        "      not_found: The site says 404.",
        "      Check the URL.",
        "  #7  https://example.org/7",
        "      not_found: The site says 404.",
        "To try again just what failed: reelin retry bulk-bbbbbbbb",
    ]


def test_of_many_failures_the_first_are_listed(api: Api, reelin: Reelin, capsys: Captured) -> None:
    many = ended(a_list(completed=1).model_copy(update={"counts": Counts(total=9999, failed=5000)}), State.PARTIAL)
    api.add(many, *(item(failed(a_job(n)), n) for n in range(1, 600)))
    assert reelin("watch", many.id) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 60
    assert "5,000 of 9,999 failed:" in lines
    assert lines[-2] == "  … All of them: reelin ls --parent bulk-bbbbbbbb --state failed --all"
    assert [request.query_params["limit"] for request in api.asked("GET", "/api/jobs")] == ["20"]


def test_a_file_is_sent_as_it_is_and_urls_after_it(api: Api, reelin: Reelin, tmp_path: Path) -> None:
    api.add(DONE)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf# mine\r\nhttps://example.org/\xc3\xa9\r\n")
    assert reelin("get", "-a", str(tmp_path / "list.txt"), "--skip-invalid", "https://example.org/2") == 0
    assert api.bodies == ["# mine\r\nhttps://example.org/é\r\nhttps://example.org/2"]
    assert query(api)["skip_invalid"] == "true"


def test_a_list_comes_through_a_pipe(api: Api, reelin: Reelin, monkeypatch: pytest.MonkeyPatch) -> None:
    api.add(DONE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"https://example.org/1\n")))
    assert reelin("get", "--file", "-") == 0
    assert api.bodies == ["https://example.org/1"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["not there", "not text"])
def test_a_file_that_cannot_be_read_is_a_wrong_call(
    api: Api, reelin: Reelin, capsys: Captured, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "list").write_bytes(content)
    assert reelin("get", "--file", str(tmp_path / "list")) == 2
    assert "--file" in capsys.readouterr().err
    assert api.requests == []


def test_lines_that_cannot_be_used_are_named_and_not_without_end(api: Api, reelin: Reelin, capsys: Captured) -> None:
    errors = [{"field": f"lines.{n}", "message": f"Line {n}: bad.", "remedy": "Fix it."} for n in range(1, 101)]
    detail = "1,200 of 5,000 entries cannot be used; the first 100 are listed. Correct them, or …"
    api.answers["POST /api/jobs"] = problem(422, detail, *errors)
    assert reelin("get", *URLS) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "✗ Line 1: bad. Fix it."
    assert lines[-2:] == [
        "  … 1,200 of 5,000 entries cannot be used.",
        "Nothing was submitted. Correct them, or run the others with --skip-invalid.",
    ]
    assert len(lines) == 22


def test_lines_that_were_left_out_are_counted(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(DONE)
    api.skipped = 3
    assert reelin("get", "--skip-invalid", "--detach", *URLS) == 0
    shown = capsys.readouterr()
    assert shown.err == "3 lines cannot be used and were left out.\n"
    assert shown.out == "completed  bulk-bbbbbbbb  10 URLs\n"


def test_options_of_playlists_are_sent(api: Api, reelin: Reelin) -> None:
    api.add(completed(a_job(1)))
    which = ["--items", "1-10,15", "--max-items", "5", "--reverse", "--only-new", "--at-once", "7"]
    assert reelin("get", *which, "https://example.org/1") == 0
    options = {"items": "1-10,15", "max_items": 5, "reverse": True, "only_new": True, "at_once": 7}
    assert api.bodies[0]["options"] == options


def test_a_url_that_turns_out_to_be_a_playlist_is_followed_with_its_items(
    api: Api, reelin: Reelin, capsys: Captured
) -> None:
    submitted = a_job(9, url="https://example.org/1")
    batch = submitted.model_copy(update={"kind": Kind.PLAYLIST, "title": "A list", "counts": Counts(total=2)})
    over = batch.model_copy(update={"counts": Counts(total=2, completed=2)})
    entry = item(completed(a_job(1)), 1, batch)
    api.add(submitted)
    script = [event(submitted), event(batch.model_copy(update={"version": 2})), event(entry), event(ended(over)), END]
    api.streams[f"/api/jobs/{submitted.id}/events"] = [script]
    assert reelin("get", "https://example.org/1") == 0
    assert capsys.readouterr().out.endswith("✓ A clip  1.1 MB\n✓ A list\n    2/2: 2 done\n")


def test_items_that_are_told_after_the_batch_has_ended_are_shown_before_its_end(
    api: Api, reelin: Reelin, capsys: Captured
) -> None:
    api.add(BATCH)
    api.streams[EVENTS] = [[event(BATCH), event(DONE), event(item(completed(a_job(1)))), END]]
    assert reelin("get", "--json", *URLS) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [a_job(1).id, BATCH.id]


def _previewed(api: Api) -> Job:
    playlist = a_job(9, url="https://example.org/1", kind=Kind.PLAYLIST, title="A list", version=2)
    paused = playlist.model_copy(update={"state": State.PAUSED, "counts": Counts(total=3, paused=2), "version": 3})
    there = completed(a_job(2)).model_copy(update={"result": {"skipped": True, "files": []}, "title": "Second"})
    first = a_job(1, title="First", duration_seconds=75.0)
    api.add(playlist, item(first, 1, paused), item(there, 2, paused), item(failed(a_job(3)), 3, paused))
    api.streams[f"/api/jobs/{playlist.id}/events"] = [[event(playlist), event(paused), HOLD]]
    return playlist


def test_a_preview_lists_the_entries_and_says_how_to_go_on(api: Api, reelin: Reelin, capsys: Captured) -> None:
    _previewed(api)
    assert reelin("get", "--preview", "https://example.org/1") == 0
    assert api.bodies[0]["preview"] is True
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "A list: 3 entries",
        "#  title                  length  in library",
        "1  First                  1:15    –",
        "2  Second                 –       yes",
        "3  https://example.org/3  –       failed: not_found",
        "",
        "Some of it: reelin resume video-00000009 --positions 1,4",
        "All of it:  reelin resume video-00000009",
        "Nothing:    reelin cancel video-00000009",
    ]


def test_a_preview_of_a_single_video_is_its_download(api: Api, reelin: Reelin, capsys: Captured) -> None:
    video = a_job(1)
    api.add(video)
    api.streams[f"/api/jobs/{video.id}/events"] = [[event(running(video, 5, 2)), event(completed(video)), END]]
    assert reelin("get", "--preview", "https://example.org/1") == 0
    assert "✓ A clip" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--preview", *URLS], []], ids=["preview of a list", "nothing"])
def test_what_makes_no_sense_is_a_wrong_call(api: Api, reelin: Reelin, arguments: list[str]) -> None:
    assert reelin("get", *arguments) == 2
    assert api.requests == []


def test_ls_of_a_batch_has_positions_and_says_how_many_there_are(api: Api, reelin: Reelin, capsys: Captured) -> None:
    api.add(BATCH, *(item(a_job(n), n) for n in range(1, 8)))
    assert reelin("ls", "--parent", "bulk-bbbb", "--limit", "5") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].startswith("#  id")
    assert len(shown.out.splitlines()) == 6
    assert shown.err == "The first 5 of 7; --limit and --all show more.\n"


def test_show_of_a_batch_has_its_counts_and_why_items_failed(api: Api, reelin: Reelin, capsys: Captured) -> None:
    dns = Failure(kind="dns", message="No such host.", remedy="Check it.", retryable=True)
    other = failed(a_job(3)).model_copy(update={"failure": dns})
    batch = ended(a_list(completed=7, failed=3), State.PARTIAL)
    api.add(batch, item(failed(a_job(1)), 1), item(failed(a_job(2)), 2), item(other, 3))
    assert reelin("show", batch.id) == 0
    shown = capsys.readouterr()
    assert "10/10: 7 done, 3 failed" in shown.out
    assert "not_found 2, dns 1" in shown.out
    assert "reelin ls --parent bulk-bbbbbbbb" in shown.err
