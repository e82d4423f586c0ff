"""Moves finished files into the media folder, so that a crash at any moment neither loses nor doubles one.

First a plan is written down (which scratch file goes where), then the files are moved, then the library is told.
Running it again reads the plan and does what is left of it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import structlog
from pydantic import ValidationError

from reelin.activities.moving import make_folder, move_file, refusing
from reelin.activities.naming import published_stem, relative_path
from reelin.activities.scratch import plan_of
from reelin.contracts.media import Downloaded, ScratchFile
from reelin.contracts.model import Message
from reelin.contracts.options import DEFAULT_FILENAME
from reelin.contracts.work import JobRequest
from reelin.library import PublishedFile

log = structlog.get_logger(__name__)


class Move(Message):
    file: ScratchFile
    path: str  #: Where it goes, relative to the media folder.


class Plan(Message):
    """`obsolete` are the paths of the job's earlier files that this run does not write again. `found` are those at
    which an equal file stands already that nobody has: it is taken over (`activities/found.py`)."""

    run: int
    downloaded: Downloaded
    moves: tuple[Move, ...]
    obsolete: tuple[str, ...] = ()
    found: tuple[str, ...] = ()

    def published(self) -> tuple[PublishedFile, ...]:
        return tuple(
            PublishedFile(path=move.path, role=move.file.role, size_bytes=move.file.size_bytes, sha256=move.file.sha256)
            for move in self.moves
        )


def read_plan(job: JobRequest, scratch: Path) -> Plan | None:
    """What an interrupted run of this job was about to do. One that is to download again does not take over the plan
    of the run before, whose files stand in the media folder already."""
    path = plan_of(scratch)
    if not path.exists():
        return None
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except ValidationError:
        return None  # of another version of Reelin
    return plan if plan.run == job.run or not job.force else None


def stem_of(job: JobRequest, downloaded: Downloaded) -> str:
    template = job.options.filename or DEFAULT_FILENAME
    return published_stem(downloaded.metadata, template, preset=job.preset, index=_index(job))


def make_plan(
    job: JobRequest,
    downloaded: Downloaded,
    media_dir: Path,
    own: frozenset[str],
    found: frozenset[str] = frozenset(),
) -> Plan:
    """Chooses free names. `own` are the paths of this job's earlier files: those it may replace."""
    stem = stem_of(job, downloaded)
    chosen: list[Move] = []

    def taken(path: str) -> bool:
        if any(move.path == path for move in chosen):
            return True
        standing = media_dir / path
        # A link that leads nowhere takes its name all the same.
        return os.path.lexists(standing) and not (path in own | found and standing.is_file())

    for file in downloaded.files:
        chosen.append(Move(file=file, path=relative_path(job.options.folder, stem, file.suffix, taken)))
    obsolete = own - {move.path for move in chosen}
    return Plan(
        run=job.run,
        downloaded=downloaded,
        moves=tuple(chosen),
        obsolete=tuple(sorted(obsolete)),
        found=tuple(sorted(found - own)),
    )


def _index(job: JobRequest) -> int | None:
    """In the playlist where there is one, else in the list."""
    index = (job.entry or {}).get("playlist_index")
    return index if isinstance(index, int) else job.position


def choose_again(plan: Plan, job: JobRequest, scratch: Path, media_dir: Path, own: frozenset[str]) -> Plan:
    """Other names for what could not be moved; what stands in the media folder already keeps its own."""
    fresh = make_plan(job, plan.downloaded, media_dir, own, frozenset(plan.found))
    moves = tuple(
        old if not (scratch / old.file.name).exists() and (media_dir / old.path).exists() else new
        for old, new in zip(plan.moves, fresh.moves, strict=True)
    )
    return fresh.model_copy(update={"moves": moves})


def take_back(plan: Plan, media_dir: Path, own: frozenset[str]) -> None:
    """Removes what was moved for a job that nobody wants any more; what was there before stays."""
    for move in plan.moves:
        if move.path not in own and move.path not in plan.found:
            _remove(media_dir / move.path)


def write_plan(plan: Plan, scratch: Path) -> None:
    path = plan_of(scratch)
    draft = path.with_name(f"{path.name}.new")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(plan.model_dump_json())
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def carry_out(plan: Plan, scratch: Path, media_dir: Path, own: frozenset[str]) -> None:
    """Moves what has not been moved yet.

    Raises NameTaken if somebody took a name meanwhile: plan again. MediaFailure (`bad_options`) where a file cannot
    stand at its path, OSError where the disk is in the way.
    """
    for move in plan.moves:
        source, target = scratch / move.file.name, media_dir / move.path
        make_folder(media_dir, move.path.rpartition("/")[0])
        if move.path in plan.found and os.path.lexists(source) and target.exists():
            source.unlink()  # nothing is overwritten: the one that is there stays
        elif os.path.lexists(source):
            with refusing(move.path, "options.filename"):
                move_file(source, target, replace=move.path in own)
        elif not target.exists():
            raise FileNotFoundError(errno.ENOENT, "A downloaded file is neither in the scratch nor in the media folder")


def drop_obsolete(plan: Plan, media_dir: Path) -> None:
    """The download is true already: what resists stays, and belongs to nobody."""
    for path in plan.obsolete:
        _remove(media_dir / path)


def forget_plan(scratch: Path) -> None:
    plan_of(scratch).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a file could not be removed from the media folder", name=path.name, reason=error.strerror)
