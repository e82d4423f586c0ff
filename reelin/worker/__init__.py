"""Builds the real parts, registers them with Temporal, runs."""

from reelin.worker.crew import Crew

__all__ = ["Crew"]
