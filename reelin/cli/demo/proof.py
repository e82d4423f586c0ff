"""Is a downloaded file right? Compared with its source, and as the API serves it."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from reelin.cli.client import Client
from reelin.cli.describe import files
from reelin.cli.text import size
from reelin.contracts.jobs import Job, ResultFile, State

_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d\.\d+)")
_DURATION_TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True)
class Source:
    """What a demo download is fetched from, and what must come out.

    Either `content`, every byte of it, or for what is joined from fragments `duration_seconds`.
    """

    path: str
    content: bytes | None = None
    duration_seconds: float | None = None


class Wrong(Exception):
    """A file is not what it should be; the text says how."""


def prove(client: Client, job: Job, source: Source, media_dir: Path, ffmpeg: Path) -> str:
    """What was found right, in words. Raises Wrong."""
    if job.state is not State.COMPLETED:
        raise Wrong(f"the job is {job.state}")
    published = files(job)
    if not published:
        raise Wrong("no file was published")
    for file in published:
        _served_as_recorded(client, file)
    first = published[0]
    words = (
        _same_bytes(media_dir / first.path, source)
        if source.content
        else _same_length(first, media_dir, source, ffmpeg)
    )
    return f"{first.path}: {size(first.size_bytes)}, {words}"


def _served_as_recorded(client: Client, file: ResultFile) -> None:
    digest = hashlib.sha256()
    n_bytes = 0
    with client.file(file.url) as chunks:
        for chunk in chunks:
            digest.update(chunk)
            n_bytes += len(chunk)
    if n_bytes != file.size_bytes:
        raise Wrong(f"{file.path} has {n_bytes} bytes, not {file.size_bytes}")
    if digest.hexdigest() != file.sha256:
        raise Wrong(f"{file.path} has another checksum than recorded")


def _same_bytes(path: Path, source: Source) -> str:
    if path.read_bytes() != source.content:
        raise Wrong(f"{path.name} differs from its source")
    return "byte for byte its source"


def _same_length(file: ResultFile, media_dir: Path, source: Source, ffmpeg: Path) -> str:
    seconds = duration_seconds(media_dir / file.path, ffmpeg)
    expected = source.duration_seconds or 0.0
    if abs(seconds - expected) > _DURATION_TOLERANCE_SECONDS:
        raise Wrong(f"{file.path} plays {seconds:.1f} s, not {expected:.1f} s")
    return f"plays {seconds:.1f} s as its source does"


def duration_seconds(path: Path, ffmpeg: Path) -> float:
    """Decodes the whole file, so that one which only begins well is found out. Raises Wrong."""
    command = [str(ffmpeg), "-hide_banner", "-nostdin", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    found = _DURATION.search(said)
    if done.returncode != 0 or found is None:
        raise Wrong(f"{path.name} cannot be opened")
    hours, minutes, seconds = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
