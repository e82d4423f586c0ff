"""The media server as a fixture; conftest.py imports it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reelin.origin.media import recipe_hash
from reelin.origin.server import Origin


def media_folder() -> Path:
    """The same for every worker and every run, until the recipe changes."""
    return Path(tempfile.gettempdir()) / f"reelin-test-media-{os.getuid()}-{recipe_hash()}"


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin(media_folder()) as started:
        yield started
