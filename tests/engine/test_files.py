"""What is on disk, and what it takes to be believed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.media import Role
from reelin.engine.child.blocks import next_block
from reelin.engine.child.boxes import Boxes, look_at_boxes
from reelin.engine.child.check import check, refuse_unsafe
from reelin.engine.child.fetched import Fetched
from reelin.engine.child.partial import Partial
from reelin.engine.child.records import read_record, write_record
from reelin.engine.child.validator import Version
from reelin.engine.programs import find_ffmpeg, versions
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.running import rewrite


def test_a_record_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "record"
    assert read_record(path) is None
    write_record(path, {"bytes": 3})
    assert read_record(path) == {"bytes": 3}
    path.write_text('{"bytes": ')
    assert read_record(path) is None
    path.write_text("[1]")
    assert read_record(path) is None


@pytest.mark.parametrize(
    ("stored", "told", "same"),
    [
        (Version(etag='"a"', total=9), Version(etag='"a"', total=9), True),
        (Version(etag='"a"', total=9), Version(etag='"b"', total=9), False),
        (Version(etag='"a"', last_modified="Mon"), Version(etag='"a"', last_modified="Tue"), True),
        (Version(last_modified="Mon"), Version(last_modified="Tue"), False),
        (Version(total=9), Version(total=8), False),
        (Version(total=9), Version(etag='"new"', total=9), True),
    ],
)
def test_two_answers_speak_of_one_file_unless_they_contradict(stored: Version, told: Version, same: bool) -> None:
    assert stored.agrees_with(told) is same


def test_a_weak_etag_is_no_ground_for_a_conditional_range() -> None:
    assert Version(etag='W/"a"').if_range is None
    assert Version(etag='W/"a"', last_modified="Mon").if_range == "Mon"
    assert Version(etag='"a"', last_modified="Mon").if_range == '"a"'


def test_a_part_with_more_bytes_than_the_file_is_worth_nothing(tmp_path: Path) -> None:
    path = tmp_path / "media.mp4.part"
    path.write_bytes(b"12345")
    Partial(path).adopt(Version(total=4))
    partial = Partial(path)
    partial.recall()
    assert (partial.have, partial.version) == (0, None)


def test_a_kept_stream_comes_back_unless_it_is_another_one(tmp_path: Path) -> None:
    whole, target = tmp_path / "media.mp4.part", tmp_path / "media.mp4"
    whole.write_bytes(b"stream")
    fetched = Fetched(tmp_path / "fetched")
    fetched.keep(whole, target.name, "format 1")
    assert not fetched.restore(target, "format 2")
    target.write_bytes(b"what ffmpeg made of it")
    assert fetched.restore(target, "format 1")
    assert target.read_bytes() == b"stream"


def test_a_kept_stream_that_a_tool_has_written_into_is_not_believed(tmp_path: Path) -> None:
    whole, target = tmp_path / "media.m4a.part", tmp_path / "media.m4a"
    whole.write_bytes(b"stream")
    fetched = Fetched(tmp_path / "fetched")
    fetched.keep(whole, target.name, "format 1")
    whole.rename(target)
    before = target.stat().st_mtime_ns
    with target.open("r+b") as file:  # As taggers do, who need no more room than there is.
        file.write(b"S")
    os.utime(target, ns=(before, before + 1_000_000))
    assert not fetched.restore(target, "format 1")


def test_a_kept_stream_does_not_outlive_the_boot(tmp_path: Path) -> None:
    whole = tmp_path / "media.mp4"
    whole.write_bytes(b"stream")
    fetched = Fetched(tmp_path / "fetched")
    fetched.keep(whole, whole.name, "format 1")
    rewrite(tmp_path / "fetched" / "media.mp4.json", boot="an earlier one")
    assert not fetched.restore(whole, "format 1")


def test_a_part_is_synced_every_few_seconds_and_its_record_says_how_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelin.engine.child.syncing.SYNC_SECONDS", 0.0)
    partial = Partial(tmp_path / "media.mp4.part", "format 1")
    partial.adopt(Version(etag='"a"', total=99_000))
    synced = 0
    with partial.path.open("ab", buffering=0) as file:
        while partial.have < 90_000 and synced == 0:
            partial.append(file.fileno(), b"12345" * 100)
            partial._syncing.settle()
            synced = json.loads((tmp_path / "media.mp4.part.json").read_text())["synced"]
    assert 0 < synced <= partial.have
    rewrite(tmp_path / "media.mp4.part.json", boot="an earlier one")
    again = Partial(partial.path, "format 1")
    again.recall()
    assert (again.have, again.version) == (synced, Version(etag='"a"', total=99_000))


def test_a_write_that_the_disk_refuses_later_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("reelin.engine.child.syncing.SYNC_SECONDS", 0.0)
    monkeypatch.setattr(os, "fdatasync", full)
    partial = Partial(tmp_path / "media.mp4.part", "format 1")
    with partial.path.open("ab", buffering=0) as file:
        partial.append(file.fileno(), b"12345")
    with pytest.raises(OSError, match="No space left"):
        partial.become(tmp_path / "media.mp4")


def test_a_record_says_which_stream_its_part_belongs_to(tmp_path: Path) -> None:
    (tmp_path / "media.mp4.part").write_bytes(b"12345")
    Partial(tmp_path / "media.mp4.part", "format 1").adopt(Version(total=9))
    for identity, have in (("format 1", 5), ("format 2", 0)):
        partial = Partial(tmp_path / "media.mp4.part", identity)
        partial.recall()
        assert partial.have == have


def test_blocks_are_worth_a_twentieth_of_a_second_within_bounds() -> None:
    assert next_block(50_000, 0.05) == 50_000
    assert next_block(50_000, 0.1) == 25_000
    assert next_block(50_000, 0.001) == 100_000
    assert next_block(50_000, 60.0) == 4096
    assert next_block(200_000, 0.0) == 256 * 1024


def test_an_mp4_is_whole_only_to_the_last_byte(origin: Origin, tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    for path in ("/clip.mp4", "/audio.m4a", "/file/100000/boxes.mp4"):
        whole = origin.reference(path)
        file.write_bytes(whole)
        assert look_at_boxes(file).whole
        file.write_bytes(whole[:-1])
        assert not look_at_boxes(file).whole
    for other in (b"", b"<html>not a video</html>" * 99, b"\0\0\0\x01ftyp", bytes(1000)):
        file.write_bytes(other)
        assert look_at_boxes(file) == Boxes()


def _ignore(_: float) -> None:
    pass


def _found(path: Path) -> dict[str, object]:
    return {"requested_downloads": [{"filepath": str(path)}]}


def test_what_cannot_be_opened_is_no_finished_download(tmp_path: Path) -> None:
    path = tmp_path / "media.mp4"
    path.write_bytes(b"<html>Sorry</html>" * 100)
    with pytest.raises(MediaFailure) as failure:
        check(_found(path), tmp_path, str(find_ffmpeg()), on_hashed=_ignore, on_wait=_ignore)
    assert failure.value.kind == FailureKind.PROCESSING
    with pytest.raises(MediaFailure, match="without a file"):
        check({}, tmp_path, str(find_ffmpeg()), on_hashed=_ignore, on_wait=_ignore)


def test_a_checked_file_is_described(origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "media.mp4"
    path.write_bytes(origin.reference("/clip.mp4"))
    percents: list[float] = []
    (file,) = check(_found(path), tmp_path, str(find_ffmpeg()), on_hashed=percents.append, on_wait=_ignore)
    assert (file.name, file.suffix, file.size_bytes) == ("media.mp4", ".mp4", path.stat().st_size)
    assert file.sha256 == origin.sha256("/clip.mp4")
    assert percents[-1] == 100


@pytest.mark.parametrize(("extension", "role"), [("exe", Role.MEDIA), ("html", Role.SUBTITLE), ("svg", Role.THUMBNAIL)])
def test_only_media_subtitles_and_pictures_are_stored(extension: str, role: Role) -> None:
    with pytest.raises(MediaFailure) as failure:
        refuse_unsafe(extension, role)
    assert failure.value.kind == FailureKind.UNSAFE_FILE


def test_the_programs_and_their_versions_are_found() -> None:
    found = versions()
    assert set(found) == {"yt-dlp", "ffmpeg", "deno"}
    assert "missing" not in found.values()
