"""The base of every message."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Frozen: change makes a new value (`model_copy(update=…)`). Unknown fields are ignored, so that a message
    that a newer Reelin wrote into a workflow's history can still be read by an older one."""

    model_config = ConfigDict(frozen=True)


class Request(BaseModel):
    """What a client sends. Unknown fields are refused: a typo must not silently mean the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)
