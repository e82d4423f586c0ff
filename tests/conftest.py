"""Fixtures for every test."""

from tests.origin.fixtures import origin
from tests.temporal import temporal

__all__ = ["origin", "temporal"]
