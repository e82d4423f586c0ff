"""Every error of yt-dlp, the network, ffmpeg and the disk, translated into one MediaFailure.

yt-dlp wraps errors in errors, and after its own retries only a text is left. So all errors of the chain are asked, in
this order: what their types say for certain, clear words, the disk, HTTP statuses, the network, then types and words
that say less.
"""

from __future__ import annotations

import email.utils
import errno
import http.client
import re
import socket
import ssl
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from typing import Any

from yt_dlp.cookies import CookieLoadError
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, NoSupportingHandlers, ProxyError, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    EntryNotInPlaylist,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    RegexNotFoundError,
    UnsupportedError,
    UserNotLive,
    YoutubeDLError,
)

from reelin.contracts.failures import FailureKind
from reelin.engine.child.phrases import CLEAR, GUARD, TRANSPORT, VAGUE, kind_of
from reelin.engine.child.wording import fit_for_client
from reelin.errors import MediaFailure

MAX_DETAIL_LENGTH = 20_000
MAX_RETRY_AFTER_SECONDS = 24 * 3600.0
_CHAIN_LIMIT = 40
_TEXT_LIMIT = 4000

Types = tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureKind], ...]

#: Types that leave no doubt.
_CERTAIN: Types = (
    (GeoRestrictedError, FailureKind.GEO_BLOCKED),
    (UnsupportedError, FailureKind.UNSUPPORTED_URL),
    (UserNotLive, FailureKind.NOT_LIVE_YET),
    ((CookieLoadError, EntryNotInPlaylist), FailureKind.BAD_OPTIONS),
    (MemoryError, FailureKind.INTERNAL),
)
_TRANSPORT: Types = (
    (socket.gaierror, FailureKind.DNS),
    ((ProxyError, IncompleteRead, TransportError, ContentTooShortError), FailureKind.NETWORK),
    ((TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException), FailureKind.NETWORK),
)
#: Types that only say which part of yt-dlp gave up.
_PART: Types = (
    (PostProcessingError, FailureKind.PROCESSING),
    (RegexNotFoundError, FailureKind.SITE_CHANGED),
)

#: EFBIG is the limit of the process: no download is meant to make such a file. What the machine has no more of comes
#: back; a MemoryError is a download that needs more than one may have.
_OF_DISK: dict[int, FailureKind] = {
    errno.ENOSPC: FailureKind.DISK_FULL,
    errno.EDQUOT: FailureKind.DISK_FULL,
    errno.EROFS: FailureKind.STORAGE_UNAVAILABLE,
    errno.EIO: FailureKind.STORAGE_UNAVAILABLE,
    errno.ESTALE: FailureKind.STORAGE_UNAVAILABLE,
    errno.EFBIG: FailureKind.TOO_LARGE,
    errno.EMFILE: FailureKind.RESOURCES_EXHAUSTED,
    errno.ENFILE: FailureKind.RESOURCES_EXHAUSTED,
    errno.ENOMEM: FailureKind.RESOURCES_EXHAUSTED,
}
_STATUSES: dict[int, FailureKind] = {
    401: FailureKind.LOGIN_REQUIRED,
    402: FailureKind.MEMBERS_ONLY,
    404: FailureKind.NOT_FOUND,
    407: FailureKind.NETWORK,
    408: FailureKind.SITE_ERROR,
    410: FailureKind.NOT_FOUND,
    416: FailureKind.RESUME_CONFLICT,
    423: FailureKind.FORBIDDEN,
    425: FailureKind.SITE_ERROR,
    429: FailureKind.RATE_LIMITED,
    451: FailureKind.GEO_BLOCKED,
    999: FailureKind.BOT_CHECK,
}
_STATUS_IN_TEXT = re.compile(r"\bHTTP Error (\d{3})(?:: [\w '-]*)?|\bServer returned (\d)(?:XX|(\d\d))\b[\w ]*", re.I)
_URL_IN_TEXT = re.compile(r"\w+://\S+")
_BUG_REPORT = re.compile(r"please report this issue on", re.I)

_SECONDS: dict[str, int] = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}
_ANNOUNCED = re.compile(r"\b(?:in|up to) (an?|\d{1,4}) (second|minute|hour|day|week|month)s?\b", re.I)


def translate(error: BaseException, *, extracted: bool, messages: Sequence[str]) -> MediaFailure:
    """`error` as the one kind of failure that it is. A MediaFailure, also one wrapped by yt-dlp, is returned as it is.

    `extracted`: whether the refused address came from an extraction, so that a fresh one may be accepted: pass False
    before extraction has succeeded, and for a direct file (`info["direct"]`) whose address the client gave.
    `messages` are the texts that yt-dlp logged during the task; they are asked when the error itself says too little.
    """
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, MediaFailure):
            return link
    text = "\n".join(dict.fromkeys(_text(link) for link in chain))
    kind = _kind(chain, text, extracted, messages)
    asked = _retry_after(chain)
    return MediaFailure(
        kind,
        _message(chain, kind),
        retry_after_seconds=_announced(kind, text) if asked is None else asked,
        detail=_detail(error, messages),
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps, outermost first, in any of the ways that yt-dlp and Python wrap."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _CHAIN_LIMIT:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [inner for inner in _wrapped(link) if isinstance(inner, BaseException)]


def _wrapped(error: BaseException) -> Iterator[object]:
    yield getattr(error, "cause", None)
    exc_info = getattr(error, "exc_info", None)
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        yield exc_info[1]
    yield error.__cause__
    yield error.__context__
    yield getattr(error, "reason", None)  # urllib3 and urllib
    yield from error.args


def _text(error: BaseException) -> str:
    # Long enough for any message, short enough for every pattern: a site may say megabytes.
    return str(getattr(error, "orig_msg", None) or error)[:_TEXT_LIMIT]


def _kind(chain: list[BaseException], text: str, extracted: bool, messages: Sequence[str]) -> FailureKind:
    plain = _words(text)
    steps: tuple[Callable[[], FailureKind | None], ...] = (
        lambda: kind_of(_URL_IN_TEXT.sub(" ", text), GUARD),
        lambda: _by_type(chain, _CERTAIN),
        lambda: kind_of(plain, CLEAR),
        lambda: _by_disk(chain),
        lambda: _by_status(chain, text, extracted),
        lambda: _by_type(chain, _TRANSPORT) if kind_of(plain, TRANSPORT) is not FailureKind.DNS else FailureKind.DNS,
        lambda: kind_of(plain, TRANSPORT),
        lambda: _by_type(chain, _PART),
        lambda: _by_handler(chain),
        lambda: kind_of(plain, VAGUE),
        lambda: _by_extractor(chain, extracted),
    )
    kind = next((kind for step in steps if (kind := step()) is not None), FailureKind.INTERNAL)
    return _second_opinion(kind, messages)


def _words(text: str) -> str:
    """What is said in words: an address or a status line must not be read as a site's explanation."""
    return _STATUS_IN_TEXT.sub(" ", _URL_IN_TEXT.sub(" ", text))


def _by_type(chain: Iterable[BaseException], types: Types) -> FailureKind | None:
    return next((kind for types_, kind in types for link in chain if isinstance(link, types_)), None)


def _by_disk(chain: Iterable[BaseException]) -> FailureKind | None:
    found = (_OF_DISK.get(link.errno or 0) for link in chain if isinstance(link, OSError))
    return next((kind for kind in found if kind is not None), None)


def _by_status(chain: Iterable[BaseException], text: str, extracted: bool) -> FailureKind | None:
    for link in chain:
        if isinstance(link, HTTPError):
            challenged = _header(link, "cf-mitigated") == "challenge"
            return FailureKind.BOT_CHECK if challenged else _of_status(int(link.status), extracted)
    found = _STATUS_IN_TEXT.search(text)
    if found is None:
        return None
    whole, first, rest = found.groups()
    return _of_status(int(whole or first + (rest or "00")), extracted)


def _of_status(status: int, extracted: bool) -> FailureKind:
    if status == 403:
        return FailureKind.EXPIRED_URL if extracted else FailureKind.FORBIDDEN
    if status >= 500 and status not in _STATUSES:
        return FailureKind.SITE_ERROR
    # Any other refusal, 400 first: the site does not understand the requests that its extractor makes.
    return _STATUSES.get(status, FailureKind.SITE_CHANGED)


def _by_handler(chain: Iterable[BaseException]) -> FailureKind | None:
    """No part of yt-dlp can make such a request: the address's scheme, unless it is about a proxy or the like."""
    handlers = [link for link in chain if isinstance(link, NoSupportingHandlers)]
    return FailureKind.INVALID_URL if any("scheme" in str(link).lower() for link in handlers) else None


def _by_extractor(chain: Iterable[BaseException], extracted: bool) -> FailureKind | None:
    """An extractor that stumbles (KeyError, TypeError) has met a page that it does not expect."""
    if extracted:
        return None
    unexpected = any(isinstance(link, ExtractorError) and not link.expected for link in chain)
    stumbled = any(isinstance(link, Exception) and _raised_in_extractor(link) for link in chain)
    foreseen = any(isinstance(link, ExtractorError) and link.expected for link in chain)
    return FailureKind.SITE_CHANGED if unexpected or (stumbled and not foreseen) else None


def _raised_in_extractor(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any("/yt_dlp/extractor/" in frame.f_code.co_filename for frame, _ in frames)


def _second_opinion(kind: FailureKind, messages: Sequence[str]) -> FailureKind:
    """What yt-dlp logged, where the error itself is a mere "conversion failed" or nothing at all."""
    if kind not in (FailureKind.INTERNAL, FailureKind.PROCESSING):
        return kind
    logged = _words("\n".join(message[:_TEXT_LIMIT] for message in reversed(messages[-50:])))
    found = kind_of(logged, CLEAR)
    if kind is FailureKind.PROCESSING:
        return found if found is not None and found in _OF_DISK.values() else kind
    return found or kind_of(logged, TRANSPORT) or kind


def _header(error: Any, name: str) -> str:
    return str(error.response.headers.get(name) or "") if error.response is not None else ""


def _retry_after(chain: Iterable[BaseException]) -> float | None:
    values = (_header(link, "Retry-After").strip() for link in chain if isinstance(link, HTTPError))
    return next((_wait(value) for value in values if value), None)


def _wait(value: str) -> float | None:
    """Seconds, from a Retry-After header's number or date."""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(moment.timestamp() - time.time(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _announced(kind: FailureKind, text: str) -> float | None:
    """ "Premieres in 3 hours", "rate-limited for up to an hour": in words, the wait that a header would give."""
    found = _ANNOUNCED.search(text) if kind in (FailureKind.NOT_LIVE_YET, FailureKind.RATE_LIMITED) else None
    if found is None:
        return None
    amount, unit = found.groups()
    return float((int(amount) if amount.isdigit() else 1) * _SECONDS[unit.lower()])


def _message(chain: list[BaseException], kind: FailureKind) -> str:
    if any(isinstance(link, MemoryError) for link in chain):
        return "The task needed more memory than a download may have."
    said = next((link for link in chain if isinstance(link, ExtractorError)), chain[0])
    ours = kind is FailureKind.INTERNAL and not isinstance(said, YoutubeDLError | OSError)
    if ours:
        # The text of a KeyError or the like means nothing to a client, and may hold anything.
        return f"An unexpected error ended the task ({type(said).__name__})."
    return fit_for_client(_text(said)) or f"The task ended without a reason ({type(said).__name__})."


def _detail(error: BaseException, messages: Sequence[str]) -> str:
    links = [link for link in _chain(error) if link.__traceback__ is not None and link is not error]
    traces = ["".join(traceback.format_exception(link, chain=False)) for link in (error, *links)]
    return "\n".join([*traces, *messages])[-MAX_DETAIL_LENGTH:]
