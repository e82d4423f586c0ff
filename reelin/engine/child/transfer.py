"""One file over HTTP, resumed without ever splicing two versions of it.

A resume asks with If-Range. Where the server names no version, the last bytes are fetched again and compared.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from yt_dlp.downloader.common import FileDownloader
from yt_dlp.networking import Request, Response
from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, IncompleteRead, ProxyError, TransportError
from yt_dlp.utils import int_or_none, parse_http_range
from yt_dlp.utils.networking import HTTPHeaderDict

from reelin.contracts.failures import FailureKind
from reelin.engine.child.blocks import FIRST_BLOCK, next_block
from reelin.engine.child.partial import Partial
from reelin.engine.child.validator import Version
from reelin.errors import MediaFailure

#: Fetched again and compared where there is nothing else to tell two versions apart.
_OVERLAP = 16 * 1024
_LONGEST_PAUSE_SECONDS = 5.0
_WORTH_ANOTHER_TRY = frozenset({408, 425}) | frozenset(range(500, 600))

OnBytes = Callable[[int, int | None], None]
OnWait = Callable[[float], None]


class Transfer:
    """`on_bytes(have, total)` is called for every block, `on_wait(seconds)` before a pause.

    `run` raises what yt-dlp's request handlers raise.
    """

    def __init__(
        self,
        downloader: FileDownloader,
        partial: Partial,
        info: dict[str, Any],
        *,
        on_bytes: OnBytes,
        on_wait: OnWait,
    ) -> None:
        self._downloader = downloader
        self._info = info
        self._partial = partial
        self._on_bytes = on_bytes
        self._on_wait = on_wait
        first, last, _ = parse_http_range((info.get("http_headers") or {}).get("Range"))
        self._first = 0 if first is None else int(first)
        self._last: int | None = int_or_none(last)
        self._furthest = 0
        self._block = FIRST_BLOCK

    def run(self) -> None:
        self._partial.recall()
        self._furthest = self._partial.have
        self._on_bytes(self._partial.have, self._partial.total)
        failures = 0
        while not self._partial.complete:
            try:
                self._fetch()
            except (HTTPError, TransportError) as error:
                failures = self._count(error, failures)
        if not self._partial.have:
            raise MediaFailure(FailureKind.SITE_ERROR, "The site sent an empty file.")

    def _fetch(self) -> None:
        answer = self._ask(overlap_of(self._partial))
        if answer is not None:
            with closing(answer):
                self._copy(answer)

    # The request

    def _ask(self, overlap: int) -> Response | None:
        """An answer whose body begins where the part ends; None if the part turns out to be complete."""
        if self._partial.version is not None and self._partial.version.encoded:
            self._partial.start_afresh()
        try:
            answer = self._downloader.ydl.urlopen(self._request(overlap))
        except HTTPError as error:
            if error.status != 416 or not self._partial.have:
                raise
            error.close()
            return self._after_refusal(error)
        return self._fit(answer, overlap)

    def _request(self, overlap: int) -> Request:
        headers = HTTPHeaderDict({"Accept-Encoding": "identity"}, self._info.get("http_headers"))
        headers.update(conditions(self._partial, overlap, first=self._first, last=self._range_end()))
        return Request(self._info["url"], self._info.get("request_data"), headers, extensions=self._extensions())

    def _range_end(self) -> int | None:
        """Some sites slow down a connection that asks for more than so much at once; their extractors say so."""
        chunk: int | None = int_or_none((self._info.get("downloader_options") or {}).get("http_chunk_size"))
        if not chunk:
            return self._last
        end = self._first + self._partial.have + chunk - 1
        return end if self._last is None else min(end, self._last)

    def _extensions(self) -> dict[str, Any]:
        target = self._downloader._get_impersonate_target(self._info)
        return {} if target is None else {"impersonate": target}

    def _after_refusal(self, error: HTTPError) -> Response | None:
        """416: there is nothing after what we have. Either that was all, or the file has become shorter."""
        found = re.fullmatch(r"bytes \*/(\d+)", error.response.headers.get("Content-Range") or "")
        if found and self._own_total(int(found[1])) == self._partial.have and self._partial.version:
            self._partial.adopt(Version(self._partial.version.etag, None, self._partial.have))
            return None
        self._partial.start_afresh()
        return self._ask(0)

    # The answer

    def _fit(self, answer: Response, overlap: int) -> Response | None:
        expected = self._first + self._partial.have - overlap
        begin, _, whole = parse_http_range(answer.headers.get("Content-Range"))
        asked_for_all = not expected and self._range_end() is None
        if answer.status == 206 and begin == expected:
            return self._go_on(answer, overlap, Version.of(answer.headers, self._own_total(whole)))
        if answer.status == 206 and not (asked_for_all and begin is None):
            return self._refuse_other_part(answer)
        self._take_from_the_beginning(answer)
        return answer

    def _refuse_other_part(self, answer: Response) -> Response | None:
        """Another part of the file than was asked for is neither the rest of it nor the whole."""
        answer.close()
        if not self._partial.have:
            raise MediaFailure(FailureKind.SITE_ERROR, "The site sent another part of the file than was asked for.")
        self._partial.start_afresh()
        return self._ask(0)

    def _go_on(self, answer: Response, overlap: int, version: Version) -> Response | None:
        if not self._partial.have:
            self._partial.adopt(version)
        elif not self._same_file(answer, overlap, version):
            answer.close()
            self._partial.start_afresh()
            return self._ask(0)
        return answer

    def _same_file(self, answer: Response, overlap: int, version: Version) -> bool:
        if self._partial.version is None or not self._partial.version.agrees_with(version):
            return False
        return not overlap or _read_exactly(answer, overlap) == self._partial.tail(overlap)

    def _take_from_the_beginning(self, answer: Response) -> None:
        """The server sends the whole file: a fresh start, a changed file, or a server that does not know ranges."""
        length = int_or_none(answer.headers.get("Content-Length"))
        self._partial.start_afresh()
        self._partial.adopt(Version.of(answer.headers, self._own_total(length)))
        _skip(answer, self._first)

    def _own_total(self, whole: int | None) -> int | None:
        """Of what is wanted of the file: it may be a range of it."""
        ends = [end for end in (whole, None if self._last is None else self._last + 1) if end is not None]
        return int(min(ends)) - self._first if ends else None

    # The bytes

    def _copy(self, answer: Response) -> None:
        partial = self._partial
        started, before, had = time.time(), time.monotonic(), partial.have
        self._block = FIRST_BLOCK  # What a broken connection leaves half read is lost, so a new one begins small.
        with partial.path.open("ab", buffering=0) as file:
            while not partial.complete and (data := answer.read(self._next_read())):
                partial.append(file.fileno(), data)
                self._downloader.slow_down(started, time.time(), partial.have - had)
                now = time.monotonic()
                self._block, before = next_block(len(data), now - before), now
                self._on_bytes(partial.have, partial.total)
        if not partial.complete:
            self._judge_end(brought=partial.have - had)

    def _next_read(self) -> int:
        total = self._partial.total
        return self._block if total is None else min(self._block, total - self._partial.have)

    def _judge_end(self, brought: int) -> None:
        """The body is over: without an announced length that is the end, else the end of a chunk, or too soon."""
        if self._partial.total is None:
            etag = self._partial.version.etag if self._partial.version else None
            self._partial.adopt(Version(etag, None, self._partial.have))
        elif self._range_end() is None or not brought:
            raise IncompleteRead(partial=self._partial.have, expected=self._partial.total - self._partial.have)

    # Trying again

    def _count(self, error: HTTPError | TransportError, failures: int) -> int:
        """A try that brought bytes never seen before starts the count again. Raises the error when it is enough."""
        if isinstance(error, HTTPError):
            error.close()
        if not worth_another_try(error):
            raise error
        failures = 1 if self._partial.have > self._furthest else failures + 1
        self._furthest = max(self._furthest, self._partial.have)
        if failures > int(self._downloader.params.get("retries") or 0):
            raise error
        self._pause(failures)
        return failures

    def _pause(self, failures: int) -> None:
        backoff = (self._downloader.params.get("retry_sleep_functions") or {}).get("http")
        seconds = min(_LONGEST_PAUSE_SECONDS, backoff(n=failures - 1) if backoff else 0)
        self._on_wait(seconds)
        time.sleep(seconds)


def overlap_of(partial: Partial) -> int:
    """So many of its last bytes are fetched again, where only they tell whether it is still the same file."""
    version = partial.version
    return 0 if version is None or version.if_range else min(partial.have, _OVERLAP)


def conditions(partial: Partial, overlap: int, *, first: int = 0, last: int | None = None) -> dict[str, str]:
    """The headers that ask for what is missing, provided that it is still the same file."""
    headers, begin = {}, first + partial.have - overlap
    if begin or last is not None:
        headers["Range"] = f"bytes={begin}-{'' if last is None else last}"
    if partial.have and partial.version and partial.version.if_range:
        headers["If-Range"] = partial.version.if_range
    return headers


def worth_another_try(error: HTTPError | TransportError) -> bool:
    """Soon, and by this process."""
    if isinstance(error, HTTPError):
        # A site that says for how long to leave it alone is left alone for so long, by the workflow.
        return error.status in _WORTH_ANOTHER_TRY and not error.response.headers.get("Retry-After")
    if isinstance(error, ProxyError) and "403" in str(error):
        return False  # The guard has refused the address; an HTTPError says so for plain HTTP.
    return not isinstance(error, CertificateVerifyError)


def _read_exactly(answer: Response, amount: int) -> bytes:
    parts = []
    while amount and (data := answer.read(amount)):
        parts.append(data)
        amount -= len(data)
    return b"".join(parts)


def _skip(answer: Response, amount: int) -> None:
    while amount and (data := answer.read(min(amount, 256 * 1024))):
        amount -= len(data)
