"""A file that has lost its end is not finished, however whole it looks."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.options import Options
from reelin.engine.child.boxes import Boxes, look_at_boxes
from reelin.engine.child.check import check
from reelin.engine.child.fetched import Fetched
from reelin.engine.child.fragments import playlist_seconds
from reelin.engine.child.length import Promise, promises, refuse_short
from reelin.engine.pool import EnginePool
from reelin.engine.programs import find_ffmpeg
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.attacks import Attacker
from tests.engine.running import ignore, task_for


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ({"duration": "20"}, {}, "The file is 5.3 s long, but 20.0 s were announced."),
        ({"duration": "20"}, {"container": "mkv"}, "The file is 5.3 s long, but 20.0 s were announced."),
        ({"duration": "14", "media": "/file/300000/whole-boxes"}, {}, "The file is 2.0 s long, but 14.0 s"),
        ({"duration": "100", "media": "/hls/plain/master.m3u8"}, {}, "The file is 15.0 s long, but 1:40 min were"),
        ({"duration": "30", "media": "/audio.m4a"}, {}, "The file is 15.0 s long, but 30.0 s were announced."),
        ({"duration": "30", "media": "/audio.m4a"}, {"container": "mp3"}, "long, but 30.0 s were announced."),
    ],
)
async def test_a_file_that_is_much_shorter_than_announced_is_not_finished(
    pool: EnginePool, origin: Origin, tmp_path: Path, query: dict[str, str], options: dict[str, Any], message: str
) -> None:
    task = task_for(origin.url_for("/page/short", **query), tmp_path, **options)
    with pytest.raises(MediaFailure) as failure:
        await pool.download(task, ignore)
    assert failure.value.kind == FailureKind.RESUME_CONFLICT  # Fetched once more, from the beginning.
    assert message in failure.value.message


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({"duration": "2"}, {}),  # The file is longer.
        ({"duration": "7"}, {}),  # By less than two seconds too short.
        ({"duration": "60"}, {}),  # "One minute."
        ({"duration": "0"}, {}),
        ({"duration": "20"}, {"sections": [{"start_seconds": 1, "end_seconds": 3}]}),
        ({"duration": "18", "media": "/audio.m4a"}, {}),
    ],
)
async def test_a_rough_announcement_is_no_reason_to_fail(
    pool: EnginePool, origin: Origin, tmp_path: Path, query: dict[str, str], options: dict[str, Any]
) -> None:
    await pool.download(task_for(origin.url_for("/page/rough", **query), tmp_path, **options), ignore)


async def test_fragments_that_come_up_empty_handed_are_noticed_by_their_playlist(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    """The server says 200 every time, but after the first second there is nothing in what it sends."""
    names = [f"{number}.ts" for number in range(15)]
    playlist = "\n".join(
        ["#EXTM3U", "#EXT-X-TARGETDURATION:1", *(f"#EXTINF:1.0,\n{name}" for name in names), "#EXT-X-ENDLIST", ""]
    )
    first = origin.reference("/hls/plain/360p-00.ts")
    empty = first[: 188 * 3]
    bodies = {"/film.m3u8": playlist.encode(), **{f"/{name}": empty for name in names}, "/0.ts": first}
    kinds = {"m3u8": "application/vnd.apple.mpegurl", "ts": "video/mp2t"}

    def answer(path: str) -> Any:
        return lambda _: (200, {"Content-Type": kinds[path.rpartition(".")[2]]}, bodies[path])

    with (
        Attacker(lambda _: {path: answer(path) for path in bodies}) as site,
        pytest.raises(MediaFailure, match=r"The file is .* s long, but 15\.0 s were announced") as failure,
    ):
        await pool.download(task_for(f"{site.url}/film.m3u8", tmp_path), ignore)
    assert failure.value.kind == FailureKind.RESUME_CONFLICT
    # yt-dlp's generic extractor adds up as well; what other extractors leave out, the kept stream still knows.
    assert Fetched(tmp_path / "fetched").seconds("media.mp4") == 15


@pytest.fixture
def fast_start(origin: Origin, tmp_path: Path) -> Path:
    """The clip with its index in front, so that it opens without its end."""
    clip, path = tmp_path / "clip.mp4", tmp_path / "media.mp4"
    clip.write_bytes(origin.reference("/clip.mp4"))
    command = [find_ffmpeg(), "-v", "error", "-i", clip, "-c", "copy", "-movflags", "faststart", path]
    subprocess.run(command, check=True)
    return path


def _checked(path: Path, *promised: Promise) -> None:
    found = {"requested_downloads": [{"filepath": str(path)}]}
    check(found, path.parent, str(find_ffmpeg()), on_hashed=lambda _: None, on_wait=lambda _: None, promised=promised)


def test_a_file_whose_index_stands_in_front_of_what_was_cut_off_is_refused(fast_start: Path) -> None:
    _checked(fast_start)
    whole = look_at_boxes(fast_start)
    assert whole.whole
    assert whole.seconds == pytest.approx(5.3, abs=0.1)
    fast_start.write_bytes(fast_start.read_bytes()[:-1000])
    assert look_at_boxes(fast_start) == Boxes(cut_off=True)
    with pytest.raises(MediaFailure, match="ends before its index") as failure:
        _checked(fast_start)
    assert failure.value.kind == FailureKind.RESUME_CONFLICT


@pytest.mark.parametrize("name", ["media.mkv", "media.webm", "media.ts", "media.mp3", "fragmented.mp4"])
async def test_the_length_of_every_container_is_found(origin: Origin, tmp_path: Path, name: str) -> None:
    clip, path = tmp_path / "clip.mp4", tmp_path / name
    clip.write_bytes(origin.reference("/clip.mp4"))
    how: dict[str, list[str]] = {
        "media.webm": ["-an", "-c:v", "libvpx", "-s", "64x36", "-deadline", "realtime"],
        "media.mp3": ["-vn"],
        "fragmented.mp4": ["-c", "copy", "-movflags", "frag_keyframe+empty_moov"],
    }
    command = [str(find_ffmpeg()), "-v", "error", "-i", str(clip), *how.get(name, ["-c", "copy"]), str(path)]
    assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0
    _checked(path, Promise(5.3, 0.3))
    with pytest.raises(MediaFailure, match="were announced"):
        _checked(path, Promise(8, 2))


@pytest.mark.parametrize(
    ("info", "options", "announced", "fragments", "shortest"),
    [
        ({}, {}, 100.0, None, [95]),
        ({}, {}, 10.0, None, [8]),
        ({}, {}, 600.0, 601.0, [540, 570.95]),
        ({"vcodec": "none"}, {}, 100.5, None, [90.45]),
        ({}, {}, None, None, []),
        ({}, {"sections": [{"start_seconds": 0, "end_seconds": 5}]}, 100.0, 100.0, []),
        ({}, {"sponsorblock": {"remove": ["sponsor"]}}, 100.0, 100.0, []),
        ({}, {"sponsorblock": {"mark": ["sponsor"]}}, 100.0, None, [95]),
        ({"is_live": True}, {}, 100.0, None, []),
        ({"live_status": "was_live"}, {}, 100.0, None, []),
    ],
)
def test_what_is_cut_on_purpose_or_live_promises_nothing(
    info: dict[str, Any],
    options: dict[str, Any],
    announced: float | None,
    fragments: float | None,
    shortest: list[float],
) -> None:
    found = promises(info, Options(**options), announced, fragments)
    assert [promise.seconds - promise.slack for promise in found] == pytest.approx(shortest)


def test_a_file_that_does_not_say_how_long_it_is_is_believed() -> None:
    refuse_short(None, [Promise(3600, 5)])


def test_advertisements_are_not_added_up() -> None:
    playlist = "#EXTM3U\n#EXTINF:9.5,\n1.ts\n#EXTINF: 0.5,title\n2.ts\n"
    assert playlist_seconds(playlist) == 10
    assert playlist_seconds(playlist + "#UPLYNK-SEGMENT:1,00000000,ad\n#EXTINF:30,\n3.ts\n") == 0
