"""The commands of docs/operating.md, run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
[FOLDERS] = re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = dict(re.findall(r"^```sh (\S+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))


def run_as_printed(name: str, cwd: Path, **environment: str) -> None:
    """In a folder that has Reelin's `.venv`, as a checkout has."""
    if not (cwd / ".venv").exists():
        (cwd / ".venv").symlink_to(ROOT / ".venv")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", FOLDERS + COMMANDS[name]],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
