"""The media folder: made once by ffmpeg, complete or not there at all."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

from reelin.origin import recipe
from reelin.origin.content import Content, Padded, Stored

_CLIP = Path(__file__).parent / "media" / "bigbuckbunny.mp4"


class MediaNotMade(RuntimeError):
    """ffmpeg could not make the media (the message ends with what it said), or the folder holds something else."""


@dataclass(frozen=True)
class Media:
    """A finished media folder."""

    folder: Path

    @functools.cached_property
    def files(self) -> frozenset[str]:
        """Every file's path below the folder."""
        return frozenset(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def stored(self, path: str, generation: int = 0) -> Stored:
        """The file at `path`. Raises KeyError."""
        if path not in self.files:
            raise KeyError(path)
        return Stored(self._read(path), path, generation)

    def padded(self, n_bytes: int, name: str, generation: int = 0) -> Padded:
        """A playable file of exactly `n_bytes` whose content depends on `name`. Raises ValueError if too small."""
        return Padded(self._read("tiny.mp4"), n_bytes, name, generation)

    def content(self, url_path: str, generation: int = 0) -> Content:
        """What is served directly at `url_path`. Raises KeyError, or ValueError for an impossible size."""
        parts = url_path.lstrip("/").split("/")
        if parts[0] == "file" and len(parts) == 3:
            return self.padded(int(parts[1]), parts[2], generation)
        return self.stored("/".join(parts), generation)

    @functools.cached_property
    def _cache(self) -> dict[str, bytes]:
        return {}

    def _read(self, path: str) -> bytes:
        # All the media together are some megabytes: read each file once.
        if path not in self._cache:
            self._cache[path] = (self.folder / path).read_bytes()
        return self._cache[path]


def make_media(folder: Path) -> Media:
    """The media in `folder`, which is made first if it is empty or not there (about a second).

    Processes that ask for the same folder at once make it once; one that is killed leaves nothing half done. Raises
    MediaNotMade, also where the folder holds something else: it is left as it is.
    """
    folder = folder.absolute()
    if not _is_made(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder.with_name(f".{folder.name}.lock")):
            if not _is_made(folder):
                _make(folder)
    return Media(folder)


def _is_made(folder: Path) -> bool:
    """Raises MediaNotMade where other files, or only some of the media, are in the way."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise MediaNotMade(f"{folder} is a file. Give a folder that is empty, or not there yet.")
    missing = sorted(path for path in recipe.finished_files() if not (folder / path).is_file())
    if missing and any(folder.iterdir()):
        raise MediaNotMade(
            f"{folder} is not empty, and {missing[0]} is not in it. "
            "Give a folder that is empty or not there yet, or delete this one."
        )
    return not missing


def recipe_hash() -> str:
    """Changes with whatever decides the bytes; part of the name of a folder that outlives one run."""
    steps = repr((recipe.encode_command(), recipe.package_command(), sorted(recipe.written_files().items())))
    return hashlib.sha256(f"{Path(_ffmpeg()).name} {steps}".encode()).hexdigest()[:12]


def _make(folder: Path) -> None:
    staging = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(staging, ignore_errors=True)
    for name in recipe.FOLDERS:
        (staging / name).mkdir(parents=True)
    shutil.copyfile(_CLIP, staging / "clip.mp4")
    for path, content in recipe.written_files().items():
        (staging / path).write_bytes(content)
    _run(recipe.encode_command(), staging)
    _run(recipe.package_command(), staging)
    shutil.rmtree(staging / recipe.WORK_FOLDER)
    staging.rename(folder)  # also over an empty folder, in one step


def _run(arguments: list[str], folder: Path) -> None:
    command = [_ffmpeg(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MediaNotMade(f"ffmpeg ended with {done.returncode}: {done.stderr[-2000:]}")


def _ffmpeg() -> str:
    return str(imageio_ffmpeg.get_ffmpeg_exe())


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
