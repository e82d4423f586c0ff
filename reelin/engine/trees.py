"""A child and everything that it started, as one thing: both sides of the engine end them so."""

from __future__ import annotations

import os
import signal


def kill_tree(leader: int) -> None:
    """The group that it leads; itself alone if it was forked so recently that it does not lead one yet."""
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, signal.SIGKILL)
        except ProcessLookupError:
            continue


def tree_exists(leader: int) -> bool:
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, 0)
        except ProcessLookupError:
            continue
        return True
    return False
