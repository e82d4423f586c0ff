"""Which of yt-dlp's 1,700 extractors is the one for a URL.

yt-dlp asks each class in turn, which takes 3 ms, and each class that is asked becomes a page of memory of the
child's own. Their patterns, tried in the same order from one list, give the same answer for a sixth of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.extractor.common import UnsupportedURLIE

#: The two classes from which an extractor has its `suitable`, if it has none of its own.
_PLAIN = {"InfoExtractor", "LazyLoadExtractor"}
_LAST: str = UnsupportedURLIE.ie_key()


class Extractors:
    """Those that a new YoutubeDL would add: `by_key`, in its order, without the last one, which belongs to its object.
    `first` are asked before all of them.

    Build it once in a process: it compiles all patterns.
    """

    def __init__(self, first: Sequence[type] = ()) -> None:
        enabled = [extractor for extractor in (*first, *gen_extractor_classes()) if extractor._ENABLED]
        self.by_key = {extractor.ie_key(): extractor for extractor in enabled}
        found = [(test, key) for key, extractor in self.by_key.items() for test in _tests(extractor)]
        self._tests = [test for test, _ in found]
        self._keys: list[str] = [key for _, key in found]

    def key_for(self, url: str) -> str:
        """Of the first that is suitable. What none of them wants is the last one's, which takes anything."""
        first = next((position for position, suits in enumerate(self._tests) if suits(url)), None)
        return _LAST if first is None else self._keys[first]


def _tests(extractor: Any) -> Iterator[Callable[[str], object]]:
    """Any of them that says yes makes it suitable."""
    if _owner_of_suitable(extractor) not in _PLAIN:
        yield extractor.suitable
    else:
        extractor.suitable("")  # It compiles its patterns when it is first asked.
        for pattern in vars(extractor).get("_VALID_URL_RE", ()):
            yield pattern.match


def _owner_of_suitable(extractor: type) -> str:
    return next(base.__name__ for base in extractor.__mro__ if "suitable" in vars(base))
