"""The environment of the engine's processes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

#: What a child may know of the worker's environment. Tokens and database passwords are none of a site's business.
_PASSED_ON = re.compile(
    r"PATH|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHON\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|\w+_PROXY", re.I
)
_A_PROXY = re.compile(r"\w+_PROXY", re.I)


def environment(extra: Mapping[str, str], proxy: str | None) -> dict[str, str]:
    """`extra` comes on top of what is passed on. With a `proxy`, there is that one and no way past it."""
    passed = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    found = {**passed, "YTDLP_NO_PLUGINS": "1", **extra}
    if proxy is None:
        return found
    found = {name: value for name, value in found.items() if not _A_PROXY.fullmatch(name)}
    return {**found, **proxy_variables(proxy)}


def proxy_variables(proxy: str) -> dict[str, str]:
    """In both spellings, since every program has its own favourite."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    return {spelt: proxy for name in names for spelt in (name, name.upper())}
