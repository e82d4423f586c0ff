"""Moving files into the media folder, interrupted anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from reelin.activities import publish
from reelin.activities.moving import NameTaken
from reelin.activities.scratch import plan_of
from reelin.contracts.jobs import Kind
from reelin.contracts.media import Downloaded, Metadata, Role, ScratchFile
from reelin.contracts.options import Options
from reelin.contracts.work import JobRequest
from reelin.errors import MediaFailure

NOTHING: frozenset[str] = frozenset()


def a_job(**options: object) -> JobRequest:
    return JobRequest(
        job_id="video-1",
        run=1,
        kind=Kind.VIDEO,
        url="https://example.org/1",
        site="example.org",
        owner="local",
        preset="best",
        options=Options.model_validate(options),
    )


def downloaded(scratch: Path, title: str = "A film") -> Downloaded:
    """A media file and its subtitles, ready in the scratch folder."""
    scratch.mkdir(exist_ok=True)
    files = []
    for name, role, suffix in (("media.mp4", Role.MEDIA, ".mp4"), ("media.en.vtt", Role.SUBTITLE, ".en.vtt")):
        (scratch / name).write_bytes(name.encode())
        files.append(ScratchFile(name=name, role=role, suffix=suffix, size_bytes=len(name), sha256="0" * 64))
    metadata = Metadata(url="https://example.org/1", title=title, extractor="generic", extractor_id="1")
    return Downloaded(metadata=metadata, files=tuple(files))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


def test_files_get_names_from_the_title_and_stand_in_the_media_folder(scratch: Path, media: Path) -> None:
    plan = publish.make_plan(a_job(folder="shows/news"), downloaded(scratch), media, NOTHING)
    publish.write_plan(plan, scratch)
    publish.carry_out(plan, scratch, media, NOTHING)
    assert [file.path for file in plan.published()] == ["shows/news/A film [1].mp4", "shows/news/A film [1].en.vtt"]
    assert (media / "shows/news/A film [1].mp4").read_bytes() == b"media.mp4"
    assert not (scratch / "media.mp4").exists()


@pytest.mark.parametrize(
    ("entry", "position", "name"),
    [({"playlist_index": 7}, 3, "7 A film"), (None, 3, "3 A film"), ({}, 3, "3 A film"), (None, None, "A film")],
)
def test_the_index_in_a_name_is_the_playlists_own_else_the_place_in_the_list(
    scratch: Path, media: Path, entry: dict[str, object] | None, position: int | None, name: str
) -> None:
    job = a_job(filename="{index} {title}").model_copy(update={"entry": entry, "position": position})
    plan = publish.make_plan(job, downloaded(scratch), media, NOTHING)
    assert plan.moves[0].path == f"{name}.mp4"


@pytest.mark.parametrize("moves_done", [0, 1, 2])
def test_a_move_that_was_interrupted_is_finished_by_the_next_run(scratch: Path, media: Path, moves_done: int) -> None:
    plan = publish.make_plan(a_job(), downloaded(scratch), media, NOTHING)
    publish.write_plan(plan, scratch)
    for move in plan.moves[:moves_done]:
        (scratch / move.file.name).rename(media / move.path)
    again = publish.read_plan(a_job(), scratch)
    assert again == plan
    publish.carry_out(plan, scratch, media, NOTHING)
    assert sorted(path.name for path in media.iterdir()) == ["A film [1].en.vtt", "A film [1].mp4"]


def test_a_kill_between_link_and_unlink_leaves_one_file_after_the_next_run(scratch: Path, media: Path) -> None:
    plan = publish.make_plan(a_job(), downloaded(scratch), media, NOTHING)
    os.link(scratch / "media.mp4", media / plan.moves[0].path)
    publish.carry_out(plan, scratch, media, NOTHING)
    assert not (scratch / "media.mp4").exists()
    assert (media / "A film [1].mp4").stat().st_nlink == 1


def test_what_somebody_else_put_there_is_never_overwritten(scratch: Path, media: Path) -> None:
    (media / "A film [1].mp4").write_bytes(b"not ours")
    plan = publish.make_plan(a_job(), downloaded(scratch), media, NOTHING)
    assert plan.moves[0].path == "A film [1] (2).mp4"
    (media / "A film [1] (2).mp4").write_bytes(b"came between plan and move")
    with pytest.raises(NameTaken):
        publish.carry_out(plan, scratch, media, NOTHING)
    assert (media / "A film [1] (2).mp4").read_bytes() == b"came between plan and move"
    assert (scratch / "media.mp4").exists()


def test_a_new_run_replaces_the_jobs_own_files_and_drops_what_it_no_longer_makes(scratch: Path, media: Path) -> None:
    own = frozenset({"A film [1].mp4", "A film [1].jpg"})
    for path in own:
        (media / path).write_bytes(b"earlier run")
    plan = publish.make_plan(a_job(), downloaded(scratch), media, own)
    assert plan.obsolete == ("A film [1].jpg",)
    publish.carry_out(plan, scratch, media, own)
    publish.drop_obsolete(plan, media)
    assert (media / "A film [1].mp4").read_bytes() == b"media.mp4"
    assert not (media / "A film [1].jpg").exists()


def test_a_file_that_is_neither_here_nor_there_is_an_error(scratch: Path, media: Path) -> None:
    plan = publish.make_plan(a_job(), downloaded(scratch), media, NOTHING)
    (scratch / "media.mp4").unlink()
    with pytest.raises(FileNotFoundError):
        publish.carry_out(plan, scratch, media, NOTHING)


def test_a_symbolic_link_that_leads_out_of_the_media_folder_is_not_followed(
    scratch: Path, media: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (media / "shows").symlink_to(tmp_path / "outside")
    plan = publish.make_plan(a_job(folder="shows"), downloaded(scratch), media, NOTHING)
    with pytest.raises(MediaFailure, match="leads out of"):
        publish.carry_out(plan, scratch, media, NOTHING)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_system_without_hard_links_gets_a_rename(
    scratch: Path, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    plan = publish.make_plan(a_job(), downloaded(scratch), media, NOTHING)
    publish.carry_out(plan, scratch, media, NOTHING)
    assert (media / "A film [1].mp4").read_bytes() == b"media.mp4"


def test_choosing_again_keeps_what_stands_in_the_media_folder_already(scratch: Path, media: Path) -> None:
    plan = publish.make_plan(a_job(), downloaded(scratch), media, NOTHING)
    (media / "A film [1].en.vtt").write_bytes(b"somebody else's")
    with pytest.raises(NameTaken):
        publish.carry_out(plan, scratch, media, NOTHING)
    again = publish.choose_again(plan, a_job(), scratch, media, NOTHING)
    assert [move.path for move in again.moves] == ["A film [1].mp4", "A film [1] (2).en.vtt"]
    publish.carry_out(again, scratch, media, NOTHING)
    assert (media / "A film [1].en.vtt").read_bytes() == b"somebody else's"
    publish.take_back(again, media, frozenset({"A film [1].mp4"}))
    assert sorted(path.name for path in media.iterdir()) == ["A film [1].en.vtt", "A film [1].mp4"]


def test_a_plan_that_cannot_be_read_is_no_plan(scratch: Path) -> None:
    scratch.mkdir()
    plan_of(scratch).write_text('{"of": "another version"}')
    assert publish.read_plan(a_job(), scratch) is None


@pytest.mark.parametrize("name", ["../other-job/media.mp4", "/etc/passwd", "a/../../b.mp4", ".hidden", "", "a//b"])
def test_a_child_cannot_name_a_file_outside_its_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        ScratchFile(name=name, role=Role.MEDIA, suffix=".mp4", size_bytes=1, sha256="x")


@pytest.mark.parametrize("suffix", ["/../../x.mp4", ".mp4/x", "../x"])
def test_a_child_cannot_choose_where_a_file_is_published(suffix: str) -> None:
    with pytest.raises(ValidationError):
        ScratchFile(name="media.mp4", role=Role.MEDIA, suffix=suffix, size_bytes=1, sha256="x")


def test_a_plan_that_a_child_left_in_its_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    assert not plan_of(folder).is_relative_to(folder)
