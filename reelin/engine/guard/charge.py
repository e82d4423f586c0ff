"""What the worker tells its guard."""

from __future__ import annotations

from pydantic import Field

from reelin.contracts.model import Message
from reelin.contracts.urls import IPNetwork

READY = b"ready\n"


class Charge(Message):
    """`allowed` are the private ranges that downloads may reach."""

    token: str = Field(repr=False)
    allowed: tuple[IPNetwork, ...]
