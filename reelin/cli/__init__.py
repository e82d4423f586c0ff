"""The command line. `main` is the program `reelin`; what it needs is imported when it runs, not before."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    from reelin.cli.program import leave, run

    leave(run())
