"""The programs that a download needs besides Python: ffmpeg and a JavaScript runtime."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg

from reelin.errors import StartupError

ABSENT = "missing"

#: The engine overrides parts of yt-dlp that are not its public interface; with these versions all its tests passed.
YT_DLP_CHECKED = ("2026.8.19",)


def find_ffmpeg() -> Path:
    """The ffmpeg that the imageio-ffmpeg wheel brings, else the system's. Raises StartupError."""
    for found in (_bundled_ffmpeg(), shutil.which("ffmpeg")):
        if found is not None and os.access(found, os.X_OK):
            return Path(found)
    raise StartupError(
        "There is no ffmpeg: install it with your system's package manager, or `pip install imageio-ffmpeg`."
    )


def _bundled_ffmpeg() -> str | None:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


def find_deno() -> Path | None:
    """The JavaScript runtime that some sites need, from its wheel or the system. Without it they fail, others work."""
    try:
        files = importlib.metadata.files("deno") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    bundled = [Path(str(file.locate())) for file in files if file.name == "deno"]
    on_path = shutil.which("deno")
    return next((path for path in bundled if os.access(path, os.X_OK)), Path(on_path) if on_path else None)


def versions() -> dict[str, str]:
    """For `reelin doctor`: each program's version, or `missing`. Starts ffmpeg and deno once each."""
    try:
        ffmpeg: Path | None = find_ffmpeg()
    except StartupError:
        ffmpeg = None
    return {
        "yt-dlp": _package_version("yt-dlp"),
        "ffmpeg": _program_version(ffmpeg, "-version", r"ffmpeg version (\S+)"),
        "deno": _program_version(find_deno(), "--version", r"deno (\S+)"),
    }


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def _program_version(program: Path | None, flag: str, pattern: str) -> str:
    if program is None:
        return ABSENT
    try:
        answer = subprocess.run([program, flag], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not start ({type(error).__name__})"
    found = re.search(pattern, answer.stdout)
    return found[1] if found else "unknown"
