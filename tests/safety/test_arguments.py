"""What ffmpeg is started with: our own constants, numbers, files of the scratch folder, addresses of the web.

The only words of others among its arguments are values of `-metadata NAME=` and of request headers, each in one
argument that begins with a name of ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from reelin.contracts.options import Options
from reelin.engine.child.channel import Silence
from reelin.engine.child.extractors import Extractors
from reelin.engine.child.task import run_download
from reelin.engine.child.tools import Tools
from reelin.engine.programs import find_ffmpeg
from reelin.engine.seam import DownloadTask
from reelin.origin.server import Origin
from tests.safety.hostile import TITLE

Command = list[str]

WITHOUT_VALUE = {"-y", "-hide_banner", "-nostdin", "-dn", "-ignore_unknown", "-vn", "-version", "-bsfs"}
VALUES = {
    "-loglevel": "repeat\\+info|quiet",
    "-map": r"-?[0-9]+(:[0-9]+|:[vas](:[0-9]+)?)?",
    "-bsf:a:0": "aac_adtstoasc",
    "-map_metadata": "[01]",
    "-c": "copy",
    "-c:s": "copy|mov_text|webvtt",
    "-acodec": "libmp3lame",
    "-f": "mp4",
    "-movflags": r"\+faststart",
    "-write_id3v1": "1",
    "-ss": r"[0-9.]+",
    "-t": r"[0-9.]+",
    "-stats_period": r"[0-9.]+",
    "-protocol_whitelist": "file|http,https,tcp,tls,crypto,httpproxy,data",
    "-progress": "SCRATCH/ffmpeg/progress",
    "-i": r"file:SCRATCH/[\w./-]+|http://127\.0\.0\.1:[0-9]+/[\w./-]+",
    "-headers": r"([\w-]+: [ -~]*\r\n)+",
    "-metadata": r"(title|date|description|synopsis|purl|comment|artist)=(?s:.*)",
    "-metadata:s:0": r"language=[a-z]{3}",
    "-metadata:s:1": r"language=[a-z]{3}",
    "-metadata:s:s:0": r"language=[a-z]{3}",
}
#: What the words of others stand behind.
VALUE_OF_A_SITE = ("title=", "description=", "synopsis=", "artist=", "purl=", "comment=", "User-Agent: ")
OUTPUT = r"file:SCRATCH/[\w./-]+"

_recording: list[list[Command]] = []


def _note(event: str, given: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _recording:
        _recording[-1].append([str(each) for each in given[1]])


@pytest.fixture(scope="module")
def listening() -> None:
    """For the rest of this process: such a hook cannot be taken away."""
    sys.addaudithook(_note)


@pytest.fixture
def started(listening: None) -> Iterator[list[Command]]:
    """Every program that this process starts meanwhile, with its arguments."""
    _recording.append([])
    yield _recording[-1]
    _recording.pop()


@pytest.fixture
def run(origin: Origin, tmp_path: Path) -> Callable[..., Path]:
    ffmpeg = str(find_ffmpeg())
    tools = Tools(ffmpeg=ffmpeg, extractors=Extractors())

    def run(path: str, **options: Any) -> Path:
        scratch = tmp_path / "scratch"
        task = DownloadTask(
            job_id="video-1",
            url=origin.url + path,
            scratch_dir=str(scratch),
            preset="best",
            options=Options.model_validate(options),
        )
        assert run_download(task, Silence(), tools, direct=True).files
        return scratch

    return run


def strangers(command: Command, scratch: Path) -> Command:
    """The arguments that are none of those above."""
    words = iter([word.replace(str(scratch), "SCRATCH") for word in command[1:]])
    found = []
    for word in words:
        if word in WITHOUT_VALUE or re.fullmatch(OUTPUT, word):
            continue
        value = next(words, "")
        if word not in VALUES or not re.fullmatch(VALUES[word], value):
            found += [word, value]
    return found


SECTION = [{"start_seconds": 0.5, "end_seconds": 2}]
HOSTILE_PAGE = f"/page/example?title={quote('-i' + TITLE)}&uploader={quote('--' + TITLE)}"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (HOSTILE_PAGE, {"embed_metadata": True, "embed_chapters": True, "container": "mkv"}),
        (
            HOSTILE_PAGE + "&media=/hls/av/master.m3u8",
            {"sections": SECTION, "embed_metadata": True, "container": "mkv"},
        ),
        (
            "/hls/av/master.m3u8",
            {"sections": SECTION, "format": "b[format_note='-i /etc/passwd']/bv*+ba/b", "container": "mp4"},
        ),
        ("/hls/av/master.m3u8", {"subtitles": {"languages": ["en"], "embed": True}, "container": "mkv"}),
        ("/audio.m4a", {"container": "mp3", "embed_metadata": True}),
    ],
)
def test_ffmpeg_gets_no_argument_from_a_client_or_a_site(
    started: list[Command], run: Callable[..., Path], path: str, options: dict[str, Any]
) -> None:
    scratch = run(path, **options)
    ffmpeg = [command for command in started if Path(command[0]).name.startswith("ffmpeg")]
    assert any("-i" in command for command in ffmpeg)
    for command in started:
        assert command[0] in (str(find_ffmpeg()), str(find_ffmpeg().with_name("ffprobe")))
        assert strangers(command, scratch) == []
        assert not any("/etc/passwd" in word for word in command if not word.startswith(VALUE_OF_A_SITE))


def test_a_stranger_would_be_noticed(tmp_path: Path) -> None:
    assert strangers(["ffmpeg", "-y", "-i", "/etc/passwd"], tmp_path) == ["-i", "/etc/passwd"]
    assert strangers(["ffmpeg", "-filter_complex", "x"], tmp_path) == ["-filter_complex", "x"]
    assert strangers(["ffmpeg", "-metadata", "title=x", "-i", f"file:{tmp_path}/a.mp4"], tmp_path) == []
