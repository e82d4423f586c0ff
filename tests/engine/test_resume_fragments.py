"""Killed at any moment, a stream of fragments ends with the bytes that an undisturbed one has.

Each test names a state that a killed or interfered-with attempt leaves on disk.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import os
import signal
import threading
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from Cryptodome.Cipher import AES
from Cryptodome.Util.Padding import pad

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.engine.child.records import read_record
from reelin.engine.pool import EnginePool
from reelin.engine.programs import find_ffmpeg
from reelin.engine.seam import DownloadTask
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.running import Undisturbed, blank, ignore, kill_at, media_of, only, parts, phase_is, rewrite, task_for

STREAMS = ["/hls/plain/master.m3u8", "/hls/aes/master.m3u8", "/hls/av/master.m3u8", "/dash/manifest.mpd"]

Spoil = Callable[[Path], object]


def _append_garbage(folder: Path) -> None:
    with only(folder, "*.mp4.part").open("ab") as part:
        part.write(b"half a fragment" * 5000)


def _lose_the_record(folder: Path) -> None:
    only(folder, "*.ytdl").unlink()


def _write_to_the_record(text: str) -> Spoil:
    return lambda folder: only(folder, "*.ytdl").write_text(text, encoding="latin-1")


def _change_the_record(**changes: Any) -> Spoil:
    return lambda folder: rewrite(only(folder, "*.ytdl"), **changes)


def _leave_fragments_behind(folder: Path) -> None:
    part = only(folder, "*.mp4.part")
    part.with_name(f"{part.name}-Frag1").write_bytes(b"a whole fragment that is in the stream already" * 99)
    part.with_name(f"{part.name}-Frag9.part").write_bytes(b"half of one" * 99)


def _shorten_the_part(folder: Path) -> None:
    os.truncate(only(folder, "*.mp4.part"), 1000)


def _lose_the_power(folder: Path) -> None:
    """Nothing was synced: what there is has lengths and names, and no bytes."""
    part = only(folder, "*.mp4.part")
    for each in (part, *parts(folder, f"{part.name}-Frag*")):
        blank(each, 0)
    rewrite(only(folder, "*.ytdl"), boot="an earlier one")


SPOILS: dict[str, Spoil] = {
    "part ahead of its record": _append_garbage,
    "part behind its record": _shorten_the_part,
    "fragments left over": _leave_fragments_behind,
    "power lost": _lose_the_power,
    "record missing": _lose_the_record,
    "record empty": _write_to_the_record(""),
    "record truncated": _write_to_the_record('{"fragments": 3'),
    "record garbage": _write_to_the_record("\x00\xff\x00"),
    "record nested without end": _write_to_the_record("[" * 100_000),
    "record a list": _write_to_the_record("[3, 1000]"),
    "record of another stream": _change_the_record(identity="another"),
    "record of wrong types": _change_the_record(fragments="3", bytes=None),
    "record of truth values": _change_the_record(fragments=True, bytes=True),
    "record of wrong state": _change_the_record(extra_state=[1]),
    "fragments without number": _change_the_record(fragments=10**9),
    "fragments without bytes": _change_the_record(fragments=-1, bytes=-1),
    "bytes without number": _change_the_record(bytes=10**40),
}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
async def test_whatever_a_killed_hls_download_leaves_no_fragment_is_doubled_or_dropped(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: Undisturbed, spoil: Spoil, threads: int
) -> None:
    await _spoilt(pool, origin, tmp_path, undisturbed, "/hls/plain/master.m3u8", spoil, threads)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("spoil", [_append_garbage, _lose_the_record, _leave_fragments_behind])
@pytest.mark.parametrize("path", STREAMS[1:])
async def test_encrypted_and_merged_streams_are_no_different(
    pool: EnginePool,
    origin: Origin,
    tmp_path: Path,
    undisturbed: Undisturbed,
    path: str,
    spoil: Spoil,
    threads: int,
) -> None:
    await _spoilt(pool, origin, tmp_path, undisturbed, path, spoil, threads)


async def _spoilt(
    pool: EnginePool,
    origin: Origin,
    folder: Path,
    undisturbed: Undisturbed,
    path: str,
    spoil: Spoil,
    threads: int,
) -> None:
    expected = await undisturbed(path)
    url = origin.url_for(path, seg_rate=2_000_000 // threads)
    task = task_for(url, folder / "job", concurrent_fragments=threads)
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 5)
    spoil(folder / "job")
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, folder / "job") == expected


async def test_a_record_of_more_fragments_than_there_are_is_a_conflict_and_no_success(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for("/hls/plain/master.m3u8", seg_rate=1_000_000), tmp_path)
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 5)
    rewrite(only(tmp_path, "*.ytdl"), fragments=16)
    with pytest.raises(MediaFailure) as caught:
        await pool.download(task, ignore)
    assert caught.value.kind == FailureKind.RESUME_CONFLICT


async def test_after_a_power_loss_a_stream_goes_on_from_what_was_synced(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    path = "/hls/plain/master.m3u8"
    expected = await undisturbed(path)
    task = task_for(origin.url_for(path, seg_rate=1_000_000, seg_key="power"), tmp_path / "job", concurrent_fragments=1)
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 5)
    synced = sum((origin.media.folder / f"hls/plain/360p-{number:02}.ts").stat().st_size for number in range(2))
    rewrite(only(tmp_path / "job", "*.ytdl"), boot="an earlier one", synced={"fragments": 2, "bytes": synced})
    blank(only(tmp_path / "job", "*.mp4.part"), synced)
    requests = len(origin.log)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected
    asked = [record.path for record in origin.log[requests:] if record.path.endswith(".ts")]
    assert asked == [f"/hls/plain/360p-{number:02}.ts" for number in range(2, 15)]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("path", STREAMS)
async def test_at_most_one_fragment_for_each_thread_is_fetched_again(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: Undisturbed, path: str, threads: int
) -> None:
    expected = await undisturbed(path)
    key = f"twice{path.replace('/', '')}{threads}"
    url = origin.url_for(path, seg_rate=1_600_000 // threads, seg_key=key)
    task = task_for(url, tmp_path / "job", concurrent_fragments=threads)
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 6)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected
    asked = [record.path for record in origin.log if key in record.query and "seg_key" not in record.query]
    fragments = [each for each in asked if not each.endswith(".key")]
    assert len(fragments) - len(set(fragments)) <= threads


async def test_a_slow_first_fragment_does_not_cost_those_that_overtook_it(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    path = "/hls/plain/master.m3u8"
    expected = await undisturbed(path)
    task = task_for(origin.url_for(path, seg_rate=500_000), tmp_path / "job")
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 5)
    part = only(tmp_path / "job", "*.mp4.part")
    whole = [each for each in parts(tmp_path / "job", f"{part.name}-Frag*") if each.suffix not in (".part", ".json")]
    appended = json.loads(only(tmp_path / "job", "*.ytdl").read_text())["fragments"]
    numbers = [number for each in whole if (number := int(each.name.rpartition("Frag")[2])) > appended]
    # The next to be appended stands there whole, as if the others had overtaken it.
    if not numbers:
        numbers = [appended + 2]
        fragment = origin.media.folder / f"hls/plain/360p-{appended + 1:02}.ts"
        part.with_name(f"{part.name}-Frag{appended + 2}").write_bytes(fragment.read_bytes())
    requests = len(origin.log)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected
    asked = {record.path for record in origin.log[requests:]}
    assert len(asked) > 1
    assert not asked & {f"/hls/plain/360p-{number - 1:02}.ts" for number in numbers}


@pytest.mark.parametrize(
    ("path", "phase"), [("/hls/av/master.m3u8", Phase.MERGING), ("/hls/plain/master.m3u8", Phase.PROCESSING)]
)
async def test_a_kill_in_the_middle_of_a_merge_or_a_fixup_costs_no_fetched_byte(
    origin: Origin, tmp_path: Path, undisturbed: Undisturbed, pool: EnginePool, path: str, phase: Phase
) -> None:
    expected = await undisturbed(path)
    task = task_for(origin.url_for(path, seg_key="ffmpegkill"), tmp_path / "job")
    await _kill_during_ffmpeg(task, phase, tmp_path)
    requests = len(origin.log)
    for name in ("media.temp.mp4", "media.mp4"):
        half_made = tmp_path / "job" / "parts" / name
        half_made.unlink(missing_ok=True)
        half_made.write_bytes(b"half merged")
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected
    assert not [record for record in origin.log[requests:] if record.path.endswith((".ts", ".m4s", ".aac"))]


async def test_a_stream_that_is_whole_is_neither_left_unfixed_nor_fetched_again(
    origin: Origin, tmp_path: Path, undisturbed: Undisturbed, pool: EnginePool
) -> None:
    """The moments between the last fragment and ffmpeg: the stream is kept, and has its old or its new name."""
    path = "/hls/plain/master.m3u8"
    expected = await undisturbed(path)
    for name in ("media.mp4.part", "media.mp4"):
        task = task_for(origin.url_for(path), tmp_path / name)
        await _kill_during_ffmpeg(task, Phase.PROCESSING, tmp_path)
        for entry in parts(tmp_path / name, "*"):
            entry.unlink()
        os.link(tmp_path / name / "fetched" / "media.mp4", tmp_path / name / "parts" / name)
        requests = len(origin.log)
        downloaded = await pool.download(task, ignore)
        assert media_of(downloaded, tmp_path / name) == expected
        assert not [record for record in origin.log[requests:] if record.path.endswith(".ts")]


async def _kill_during_ffmpeg(task: DownloadTask, phase: Phase, folder: Path) -> None:
    slow = folder / "slow-ffmpeg"
    slow.write_text(f'#!/bin/sh\ncase "$*" in "-y "*) sleep 60 ;; esac\nexec {find_ffmpeg()} "$@"\n')
    slow.chmod(0o755)
    first = EnginePool(cookies_dir=folder, idle_children=0, ffmpeg=slow)
    await first.start()
    try:
        await kill_at(first, task, phase_is(phase))
    finally:
        await first.close()


async def test_subtitles_in_fragments_are_merged_even_when_only_the_last_one_is_missing(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    wanted: dict[str, Any] = {"subtitles": {"languages": ["en"]}, "concurrent_fragments": 1}
    path = "/hls/av/master.m3u8"
    undisturbed = await pool.download(task_for(origin.url_for(path), tmp_path / "reference", **wanted), ignore)
    task = task_for(origin.url_for(path, seg_latency_ms=50), tmp_path / "job", **wanted)
    running = asyncio.create_task(pool.download(task, ignore))
    record = tmp_path / "job" / "parts" / "media.en.vtt.ytdl"
    last = len([name for name in origin.media.files if name.startswith("hls/av/") and name.endswith(".vtt")]) - 1
    while (read_record(record) or {}).get("fragments") != last:
        assert not running.done()
        await asyncio.sleep(0.005)
    os.kill(pool.running_pids[task.job_id], signal.SIGKILL)
    with pytest.raises(MediaFailure, match="The engine's process ended"):
        await running
    assert (await pool.download(task, ignore)).files[1].sha256 == undisturbed.files[1].sha256


# What a fragment is may depend on those before it


@pytest.fixture
def made(origin: Origin) -> Iterator[Playlists]:
    with Playlists([origin.media.folder / f"hls/plain/90p-{number:02}.ts" for number in range(15)]) as playlists:
        yield playlists


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", ["numbered.m3u8", "ranges.m3u8"])
async def test_a_fragment_whose_number_is_its_key_or_whose_range_follows_the_last_is_the_same_after_a_kill(
    pool: EnginePool, made: Playlists, tmp_path: Path, name: str, threads: int
) -> None:
    made.blocked.clear()
    task = task_for(f"{made.url}/{name}", tmp_path / "job", concurrent_fragments=threads)
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= Playlists.BLOCKS_AFTER - threads)
    made.blocked.set()
    downloaded = await pool.download(task, ignore)
    alone = task_for(f"{made.url}/{name}", tmp_path / "alone", concurrent_fragments=threads)
    expected = media_of(await pool.download(alone, ignore), tmp_path / "alone")
    assert media_of(downloaded, tmp_path / "job") == expected


class Playlists:
    """One stream, once encrypted with each fragment's number as its initialisation vector, once as ranges of one file.

    Until `blocked` is set, the fragments from BLOCKS_AFTER on are not answered.
    """

    BLOCKS_AFTER = 8
    _KEY = b"0123456789abcdef"

    def __init__(self, fragments: Sequence[Path]) -> None:
        self.blocked = threading.Event()
        self._plain = [fragment.read_bytes() for fragment in fragments]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Playlists:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.blocked.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, path: str, asked: str | None) -> bytes:
        if path == "/key":
            return self._KEY
        if path.endswith(".m3u8"):
            lines = self._numbered() if path == "/numbered.m3u8" else self._ranges()
            return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:1", *lines, "#EXT-X-ENDLIST"]).encode()
        return self._range(asked or "") if path == "/all.ts" else self._encrypted(int(path[1:-3]))

    def _numbered(self) -> list[str]:
        numbers = range(len(self._plain))
        return ['#EXT-X-KEY:METHOD=AES-128,URI="key"', *(f"#EXTINF:1,\n{number}.ts" for number in numbers)]

    def _encrypted(self, number: int) -> bytes:
        self._hold(number)
        cipher = AES.new(self._KEY, AES.MODE_CBC, iv=number.to_bytes(16, "big"))
        return cipher.encrypt(pad(self._plain[number], AES.block_size))

    def _ranges(self) -> list[str]:
        """Only the first says where it begins."""
        places = ["@0"] + [""] * len(self._plain)
        return [
            f"#EXTINF:1,\n#EXT-X-BYTERANGE:{len(fragment)}{place}\nall.ts"
            for fragment, place in zip(self._plain, places, strict=False)
        ]

    def _range(self, asked: str) -> bytes:
        first, _, last = asked.removeprefix("bytes=").partition("-")
        self._hold(bisect(list(accumulate(map(len, self._plain))), int(first)))
        return b"".join(self._plain)[int(first) : int(last) + 1]

    def _hold(self, number: int) -> None:
        if number >= self.BLOCKS_AFTER:
            self.blocked.wait()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        playlists = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                body = playlists._answer(self.path, asked)
                self.send_response(206 if asked else 200)
                self.send_header("Content-Type", mimetypes.guess_type(self.path)[0] or "application/vnd.apple.mpegurl")
                self.send_header("Content-Length", str(len(body)))
                if asked:
                    self.send_header("Content-Range", f"bytes {asked.removeprefix('bytes=')}/*")
                self.end_headers()
                with suppress(ConnectionError):  # The child that asked was killed.
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
