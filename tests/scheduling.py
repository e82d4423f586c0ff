"""Which process runs which tests, and in which order, under `pytest -n 3 --dist loadfile`.

A file's tests stay together, since they share what is costly to start. What takes long goes first, so that no process
is still busy with it when the others have nothing left; xdist would begin with the files that have most tests, which
are quick ones. Tests that start services of their own share nothing, and fill whatever process is free.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

#: What comes first; the rest follows as it is collected. Whole services wait more than they compute.
_ORDER = ("tests/service/", "tests/embedded/", "tests/engine/", "tests/workflows/", "tests/worker/")
#: The files whose tests share one running service.
_SHARING = tuple(f"tests/service/test_{name}.py" for name in ("batch", "batch_kill", "cli", "downloads"))


def sort(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> tuple[int, bool]:
    place = next((number for number, folder in enumerate(_ORDER) if nodeid.startswith(folder)), len(_ORDER))
    return place, _alone(nodeid)


def _alone(nodeid: str) -> bool:
    return nodeid.startswith("tests/service/") and not nodeid.startswith(_SHARING)


class LongestFirst(LoadFileScheduling):
    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if _alone(nodeid) else str(super()._split_scope(nodeid))
