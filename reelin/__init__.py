"""Reelin downloads video so that nothing is ever lost. See docs/architecture.md for the layout."""

__version__ = "0.1.0"
