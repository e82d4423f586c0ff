"""The API for these tests, and how hard hypothesis tries.

It tries the same examples each time, so that a merge does not depend on luck; with SAFETY_EXAMPLES=5000 in the
environment it hunts for new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.api.conftest import api, served

_HUNT = os.environ.get("SAFETY_EXAMPLES")

settings.register_profile(
    "reelin",
    deadline=None,
    derandomize=_HUNT is None,
    database=None,
    max_examples=int(_HUNT or 100),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("reelin")

__all__ = ["api", "served"]
