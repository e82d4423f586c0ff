"""Small file systems as a fixture; conftest.py imports it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of a size such as "3m". Needs the right to mount: skipped without it, except in CI."""
    folders: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk-{len(folders)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "reelin-test", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode != 0:
            if os.environ.get("CI") and os.geteuid() == 0:
                pytest.fail(f"cannot mount: {done.stderr!r}")
            pytest.skip("mounting a small file system needs root")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)
