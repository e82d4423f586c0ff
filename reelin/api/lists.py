"""Lists of URLs: every entry that cannot be used is named, or left out if that was asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reelin.api.problems import FieldError, clipped
from reelin.contracts.urls import IPNetwork, check_url
from reelin.errors import InvalidInput

MAX_URLS = 100_000
#: So many of the entries that cannot be used are named; the others are counted.
NAMED = 100
#: After so many entries others get the processor: a thread that computes would keep the event loop from it.
_BREATH = 100
_CORRECT = "Correct them, or send skip_invalid=true to run the others."


@dataclass(frozen=True, slots=True)
class CheckedList:
    """`skipped` entries could not be used."""

    urls: tuple[str, ...]
    skipped: int


class UnusableEntries(InvalidInput):
    """`numbers` are theirs, counted from 1 and in order; `named` are the first of them."""

    def __init__(self, numbers: Sequence[int], total: int, named: Sequence[FieldError], *, remedy: str) -> None:
        count = len(numbers)
        listed = "" if count == len(named) else f"; the first {len(named)} are explained"
        super().__init__(f"{count:,} of {total:,} entries cannot be used{listed}.", remedy=remedy)
        self.numbers = tuple(numbers)
        self.named = tuple(named)


def check_list(
    entries: Sequence[object], *, text: bool, allowed: tuple[IPNetwork, ...], skip_invalid: bool
) -> CheckedList:
    """`text`: the entries are lines, of which empty ones and comments do not count.

    Takes some seconds for 100,000: call it in a thread. Raises UnusableEntries, InvalidInput.
    """
    if not text and len(entries) > MAX_URLS:
        raise _too_many()
    urls: list[str] = []
    named: list[FieldError] = []
    unusable: list[int] = []
    for number, entry in _numbered(entries, text=text):
        if number % _BREATH == 0:
            time.sleep(0)
        if len(urls) + len(unusable) == MAX_URLS:
            raise _too_many()
        try:
            urls.append(_checked(entry, allowed))
        except InvalidInput as error:
            unusable.append(number)
            if len(named) < NAMED:
                named.append(_named(error, number, entry, text=text))
    if unusable and not skip_invalid:
        raise UnusableEntries(unusable, len(urls) + len(unusable), named, remedy=_CORRECT)
    if not urls:
        raise InvalidInput("The list has no URL that can be used.", remedy="Give at least one URL.", field="urls")
    return CheckedList(tuple(urls), len(unusable))


def spans(numbers: Sequence[int]) -> str:
    """Numbers in order, those that follow each other as one span: "4,7-9"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ",".join("-".join(map(str, span)) for span in found)


def _too_many() -> InvalidInput:
    remedy = f"Submit at most {MAX_URLS:,} at once."
    return InvalidInput(f"The list has more than {MAX_URLS:,} URLs.", remedy=remedy, field="urls")


def _numbered(entries: Sequence[object], *, text: bool) -> Iterator[tuple[int, object]]:
    """From 1, as people count lines."""
    for number, entry in enumerate(entries, start=1):
        if not (text and isinstance(entry, str) and (not entry.strip() or entry.lstrip().startswith("#"))):
            yield number, entry


def _checked(entry: object, allowed: tuple[IPNetwork, ...]) -> str:
    if not isinstance(entry, str):
        raise InvalidInput("This is not text.", remedy="Give each URL as a string.")
    try:
        entry.encode()
    except UnicodeEncodeError:
        raise InvalidInput("This is not text that can be stored.", remedy="Give each URL in UTF-8.") from None
    return check_url(entry, allowed=allowed)


def _named(error: InvalidInput, number: int, entry: object, *, text: bool) -> FieldError:
    given = clipped(repr(entry) if isinstance(entry, str) else type(entry).__name__, 60)
    field = f"lines.{number}" if text else f"urls.{number - 1}"
    what = "Line" if text else "Entry"
    return FieldError(field=field, message=f"{what} {number}, {given}: {error.message}", remedy=error.remedy)
