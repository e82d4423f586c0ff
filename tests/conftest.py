"""Fixtures for every test."""

from tests.disks import mounted
from tests.origin.fixtures import origin
from tests.postgres import postgres
from tests.temporal import temporal

__all__ = ["mounted", "origin", "postgres", "temporal"]
