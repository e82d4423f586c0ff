"""Small JSON records that vouch for bytes on disk, replaced whole or not at all.

After a kill the kernel still has every byte that was written. After a power loss only what was synced is certain, and
records say in which boot they were written: of another boot's, only what is noted as synced counts. The records
themselves are not synced: an older one vouches for less, and one that cannot be read for nothing.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, TypeGuard


def write_record(path: Path, record: dict[str, Any]) -> None:
    """A rename, so that a kill leaves the old record or the new one, never half of one."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(path)


def read_record(path: Path) -> dict[str, Any] | None:
    """None if it is missing or is not a record: what it would vouch for is then worth nothing."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def is_count(value: object) -> TypeGuard[int]:
    """JSON's `true` is an int to Python, and no number of bytes."""
    return type(value) is int and value >= 0


@functools.cache
def this_boot() -> str:
    """The kernel's name for its present run."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
