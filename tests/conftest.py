"""Fixtures for every test."""

from __future__ import annotations

import pytest

from tests.disks import mounted
from tests.origin.fixtures import origin
from tests.postgres import postgres
from tests.sqlite import library
from tests.temporal import temporal

__all__ = ["library", "mounted", "origin", "postgres", "temporal"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole services first: they wait more than they compute, and short tests fill the gaps at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/service/"))
