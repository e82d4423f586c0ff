"""Frozen messages that cross a boundary. Import the module you need: this package imports nothing by itself."""
