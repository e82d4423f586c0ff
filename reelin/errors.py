"""Every error that Reelin raises on purpose.

    ReelinError
    ├── InvalidInput       what a client sent cannot be used: names the field and the remedy (422)
    ├── NotFound           no such job, video or file (404)
    ├── Conflict           the state of the thing does not allow it (409)
    ├── Unavailable        a part that Reelin stands on does not answer; try again later (503)
    ├── MediaFailure       a download or an extraction failed, with its kind (FailureKind) and what the site said
    ├── PlaylistFound      no failure: the URL of a download leads to a playlist, with its title and length
    └── StartupError       Reelin cannot start here; one line that says why and what to do
        └── SettingsError  a REELIN_ variable is wrong

An error carries data, so that whoever catches it can answer without reading its text.
"""

from __future__ import annotations

import errno

#: What the process, the user or the machine has no more of: open files, memory. It comes back by itself.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
#: To start a process or a thread may be refused for these too.
_NO_PROCESS = _EXHAUSTED | {errno.EAGAIN}


class ReelinError(Exception):
    """Base of the tree."""


class InvalidInput(ReelinError, ValueError):
    """Something a client sent cannot be used. It is a ValueError, so that pydantic collects it as one.

    `field` is the name as the client wrote it, empty where the validator of a model knows it better.
    """

    def __init__(self, message: str, *, remedy: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.field = field


class NotFound(ReelinError):
    """There is no such thing, or the caller may not see it."""

    def __init__(self, what: str, identifier: str) -> None:
        super().__init__(f"There is no {what} {identifier!r}.")
        self.what = what
        self.identifier = identifier


class Conflict(ReelinError):
    """The thing exists, but its present state does not allow what was asked."""


class Unavailable(ReelinError):
    """A part that Reelin stands on (Temporal, the database) does not answer. Nothing was lost; try again."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part} does not answer: {reason}")
        self.part = part
        self.reason = reason


class MediaFailure(ReelinError):
    """A download or an extraction failed. `kind` is a value of `contracts.failures.FailureKind`.

    `message` is fit for a client: no path of this machine, no traceback. `detail` is for the log only.
    `retry_after_seconds` is what the site asked for, or None.
    """

    def __init__(
        self, kind: str, message: str, *, retry_after_seconds: float | None = None, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.detail = detail


class PlaylistFound(ReelinError):
    """What was to be downloaded is a playlist. `title` and `count` are None where they are not known at once."""

    def __init__(self, title: str | None, count: int | None) -> None:
        super().__init__(f"a playlist of {count} entries" if count else "a playlist")
        self.title = title
        self.count = count


class StartupError(ReelinError):
    """Reelin cannot start. The text is one line: what is wrong, and what to do."""


class SettingsError(StartupError):
    """A setting is missing, misspelt or out of range."""


def is_exhaustion(error: BaseException, *, starting: bool = False) -> bool:
    """Whether files or memory have run out, which is nobody's fault and passes. `starting`: a process or a thread."""
    if isinstance(error, OSError):
        return error.errno in (_NO_PROCESS if starting else _EXHAUSTED)
    return isinstance(error, MemoryError) or "can't start new thread" in str(error)
