"""Fixtures for every test, and the order in which tests run."""

from __future__ import annotations

from typing import Any

import pytest

from tests import scheduling
from tests.disks import mounted
from tests.origin.fixtures import origin
from tests.postgres import postgres
from tests.sqlite import library
from tests.temporal import temporal

__all__ = ["library", "mounted", "origin", "postgres", "temporal"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    scheduling.sort(items)


@pytest.hookimpl(optionalhook=True)  # -p no:xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    return scheduling.LongestFirst(config, log) if config.getvalue("dist") == "loadfile" else None
