"""Reelin on one machine: its own Temporal server, and everything in one process."""
