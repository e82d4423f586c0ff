"""Files in the media folder that the library does not know: it was restored from a backup that is older than they are.

A download whose file stands there already, byte for byte and under the name that it would get, takes that one over,
instead of putting a second one beside it as "(2)".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog
from pydantic import ValidationError

from reelin.activities.media import MediaFolder
from reelin.activities.naming import relative_path
from reelin.activities.publish import Plan, stem_of
from reelin.activities.scratch import PLAN_SUFFIX, plan_of
from reelin.contracts.media import Downloaded, ScratchFile
from reelin.contracts.work import JobRequest
from reelin.library import Library

log = structlog.get_logger(__name__)

_BLOCK_BYTES = 1 << 20
_SLOWEST_READ_BYTES_PER_SECOND = 1_000_000
#: "(2)", "(3)" and so on are looked at so far.
_MOST_NAMES = 100


async def find_unknown_files(
    library: Library,
    job: JobRequest,
    downloaded: Downloaded,
    *,
    media: MediaFolder,
    media_id: str,
    scratch: Path,
    own: frozenset[str],
) -> frozenset[str]:
    """Paths of files that are equal to what was downloaded, and that nobody has: at most one for each file.

    `own` are the job's already. Files of equal size are read as a whole.
    """
    look = partial(_find_equal, job, downloaded, scratch, media.media_dir, own)
    reading = sum(file.size_bytes for file in downloaded.files) / _SLOWEST_READ_BYTES_PER_SECOND
    equal = await media.threads.run_alone(job.job_id, reading, look)
    if not equal:
        return frozenset()
    # In this order: what is published meanwhile stands in a plan before it stands in a row.
    in_plans = await media.threads.run(_paths_in_plans, scratch)
    in_rows = await library.videos.claimed_paths(media_id, [path for paths in equal.values() for path in paths])
    found = _choose(equal, in_plans | in_rows)
    if found:
        log.info("taking over files that stand in the media folder already", job_id=job.job_id, files=len(found))
    return found


def _find_equal(
    job: JobRequest, downloaded: Downloaded, scratch: Path, media_dir: Path, own: frozenset[str]
) -> dict[str, Sequence[str]]:
    """By the scratch file's name, in their order."""
    stem = stem_of(job, downloaded)
    equal = {}
    for file in downloaded.files:
        if (scratch / file.name).exists():  # else it was moved before a crash
            names = _taken_names(job.options.folder, stem, file, media_dir, own)
            equal[file.name] = [path for path in names if _is_equal(media_dir / path, file)]
    return {name: paths for name, paths in equal.items() if paths}


def _taken_names(
    folder: str | None, stem: str, file: ScratchFile, media_dir: Path, own: frozenset[str]
) -> Iterator[str]:
    """Up to the first that is free, or the job's own."""
    passed: set[str] = set()
    while len(passed) < _MOST_NAMES:
        path = relative_path(folder, stem, file.suffix, passed.__contains__)
        if path in own or not os.path.lexists(media_dir / path):
            return
        passed.add(path)
        yield path


def _is_equal(path: Path, file: ScratchFile) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest() == file.sha256


def _paths_in_plans(scratch: Path) -> frozenset[str]:
    """What other downloads are publishing just now."""
    found: set[str] = set()
    for path in scratch.parent.glob(f"*{PLAN_SUFFIX}"):
        if path != plan_of(scratch):
            try:
                found.update(move.path for move in Plan.model_validate_json(path.read_bytes()).moves)
            except (FileNotFoundError, ValidationError):
                continue  # it is through; or of another version
    return frozenset(found)


def _choose(equal: Mapping[str, Sequence[str]], claimed: frozenset[str]) -> frozenset[str]:
    chosen: set[str] = set()
    for paths in equal.values():
        free = [path for path in paths if path not in claimed and path not in chosen]
        chosen.update(free[:1])
    return frozenset(chosen)
