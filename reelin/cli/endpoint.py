"""Where the API is: as told, else where `reelin up` says that it listens, else the default address."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from reelin.cli.problems import NoApi
from reelin.contracts.model import Message
from reelin.embedded.folder import NOTE

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


class UpFile(Message):
    """What a running `reelin up` leaves in its data folder."""

    url: str
    pid: int
    temporal_ui: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """`found` says where the address comes from, for the message when nothing answers there."""

    url: str
    found: str
    token: str | None = field(default=None, repr=False)

    @property
    def on_loopback(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def find_endpoint(url: str | None = None, token: str | None = None) -> Endpoint:
    """`url` and `token` as the caller was given them (--url, --token). Raises SettingsError, NoApi."""
    if url:
        return Endpoint(_checked(url), "given by --url or REELIN_URL", token)
    # Only here: reading the settings costs a third of this program's start.
    from reelin.settings import load_settings

    settings = load_settings()
    token = token or settings.api_token
    running = read_up_file(settings.data_dir)
    if running:
        return Endpoint(running.url.rstrip("/"), f"written by `reelin up` into {settings.data_dir}", token)
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    address = f"http://{host}:{settings.port or 8484}"
    return Endpoint(address, f"the default; no `reelin up` runs on {settings.data_dir}", token)


def read_up_file(data_dir: Path) -> UpFile | None:
    """None where no `up` runs: a file that a killed one left behind does not count."""
    try:
        up = UpFile.model_validate_json((data_dir / NOTE).read_bytes())
    except (OSError, ValidationError):
        return None
    return up if _alive(up.pid) else None


def _checked(url: str) -> str:
    """`localhost:8484` is how people write it."""
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise NoApi(f"{url} is not an address of Reelin's API; --url and REELIN_URL look like http://127.0.0.1:8484.")
    return url


def _alive(pid: int) -> bool:
    if pid <= 0:  # to os.kill that would mean a group of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it lives, under another user
        return True
    return True
