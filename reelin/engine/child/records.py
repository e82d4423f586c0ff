"""Small JSON records that vouch for bytes on disk, replaced whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_record(path: Path, record: dict[str, Any]) -> None:
    """A rename, so that a kill leaves the old record or the new one, never half of one."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(path)


def read_record(path: Path) -> dict[str, Any] | None:
    """None if it is missing or is not a record: what it would vouch for is then worth nothing."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
