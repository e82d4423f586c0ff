"""How many files a process takes, and whom it keeps them for."""

from __future__ import annotations

import subprocess
import sys

from reelin.filelimit import share

_SAID = "from reelin.filelimit import raise_limit; import resource; print(raise_limit(), *resource.getrlimit(7))"


def _limits(soft: int, hard: int) -> list[int]:
    program = f"import resource; resource.setrlimit(7, ({soft}, {hard})); {_SAID}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


def test_the_soft_limit_is_raised_as_far_as_it_goes_and_the_hard_one_stays() -> None:
    assert _limits(100, 400) == [400, 400, 400]


def test_work_keeps_its_files_and_somebody_can_always_look() -> None:
    usual, little = share(65_536, max_downloads=16), share(100, max_downloads=500)
    assert (usual.for_work, usual.connections) == (228, 65_308)
    assert usual.guests < usual.connections
    assert (little.for_work, little.guests) == (50, 26)
