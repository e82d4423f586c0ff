"""How an answer is to be disturbed. It stands in the URL, so that it reaches the server through any client.

    rate=BYTES_PER_SECOND   each response body flows evenly at this rate
    latency_ms=N            so long until the first byte of the answer
    fail=STATUSxN           the first N requests get STATUS (`fail=503x2`); retry_after=SECONDS adds that header
    drop_after=BYTES        the connection closes after so many bytes of body; drop_times=N requests (1)
    stall_after=BYTES       after so many bytes of body nothing more comes; stall_times=N requests (1)
    ignore_range=1          always 200 with the whole body
    no_length=1             chunked, so without Content-Length and ranges
    validators=WHICH        of `etag` and `date` (Last-Modified) only that one is sent, or `none` of them
    changed_after=N         from request N+1 on the content is another one of the same length, with another ETag
    skip=N                  `fail`, `drop` and `stall` begin after the first N requests (yt-dlp probes a file with one)
    max_rate=N              of all requests with one key, whatever their path, those beyond N within a second get 429
    max_connections=N       those beyond N that are being answered at the same time get 429
    retry_after=SECONDS     adds that header to these 429s too
    key=TEXT                no effect, but requests are counted for each path and key

Of one path and key, the first requests fail, the next are dropped, the next stall; after that all is well. On a
manifest, a feed or a page the prefix `seg_` (`seg_rate=…`) hands a fault down to what it names (`manifests.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields


class BadFault(ValueError):
    """A fault's value cannot be read."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What the URL asks for. The fields are the parameters."""

    rate: int | None = None
    latency_ms: int = 0
    fail: str | None = None
    retry_after: str | None = None
    drop_after: int | None = None
    drop_times: int = 1
    stall_after: int | None = None
    stall_times: int = 1
    ignore_range: bool = False
    no_length: bool = False
    validators: str | None = None
    changed_after: int | None = None
    skip: int = 0
    max_rate: int | None = None
    max_connections: int | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Faults:
        values = {name: query[name] for name in FAULT_NAMES if name in query}
        texts = {name: values.pop(name) for name in ("fail", "retry_after", "validators") if name in values}
        numbers = {name: _number(name, value) for name, value in values.items()}
        flags = {name: bool(numbers.pop(name)) for name in ("ignore_range", "no_length") if name in numbers}
        if numbers.get("rate") == 0:
            raise BadFault("rate must be at least 1")
        if texts.get("validators", "none") not in ("etag", "date", "none"):
            raise BadFault("validators must be etag, date or none")
        return cls(**texts, **numbers, **flags)  # type: ignore[arg-type]  # three kinds of values, by name


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to one request: at most one of fail, drop and stall."""

    faults: Faults
    fail_status: int | None = None
    drop_after: int | None = None
    stall_after: int | None = None
    generation: int = 0

    @property
    def shapes_body(self) -> bool:
        return not (self.faults.rate is None and self.drop_after is None and self.stall_after is None)


FAULT_NAMES = frozenset(field.name for field in fields(Faults))
#: Faults that depend on how many requests came before.
COUNTED_FAULTS = frozenset(
    {"fail", "drop_after", "stall_after", "changed_after", "skip", "max_rate", "max_connections"}
)


def plan(faults: Faults, request_number: int) -> Plan:
    """The plan for the request with this number, from 1, among those of one path and key."""
    fail_status, fail_times = _status_and_times(faults.fail) if faults.fail else (0, 0)
    number = request_number - faults.skip
    drops_until = fail_times + (faults.drop_times if faults.drop_after is not None else 0)
    stalls_until = drops_until + (faults.stall_times if faults.stall_after is not None else 0)
    return Plan(
        faults,
        fail_status=fail_status if 0 < number <= fail_times else None,
        drop_after=faults.drop_after if fail_times < number <= drops_until else None,
        stall_after=faults.stall_after if drops_until < number <= stalls_until else None,
        generation=1 if faults.changed_after is not None and request_number > faults.changed_after else 0,
    )


def _status_and_times(text: str) -> tuple[int, int]:
    status, _, times = text.partition("x")
    code = _number("fail", status)
    if not 200 <= code <= 599:
        raise BadFault(f"fail={text!r} names no status from 200 to 599")
    return code, _number("fail", times or "1")


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise BadFault(f"{name}={text!r} is not a whole number")
    return int(text)
