"""Fixtures for every test."""

from tests.origin.fixtures import origin

__all__ = ["origin"]
