from __future__ import annotations

import pytest

from reelin.cli.text import clean, duration, short_id, size


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;pwned\x07title", "title"),
        ("\x1b]52;c;cm0gLXJm\x1b\\clip", "clip"),
        ("\x9b31mred", "red"),
        ("\x9d0;pwned\x9ctitle", "title"),
        ("\x1bP1$r0q\x1b\\dcs", "dcs"),
        ("\x1bcreset", "reset"),
        ("never ended \x1b]0;pwned", "never ended"),
        ("one\r\ntwo\tthree\u2028four", "one two three four"),
        ("safe\u202egpj.exe\u202c", "safegpj.exe"),
        ("a\x00b\x08c\x7fd", "abcd"),
        ("\ud800lone", "lone"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\x1b\x1b[31m[red]", "[red]"),
    ],
)
def test_what_could_drive_a_terminal_does_not_reach_it(hostile: str, harmless: str) -> None:
    assert clean(hostile) == harmless


@pytest.mark.parametrize(
    "text", ["Ünïcode – “quotes”", "日本語の動画", "👩\u200d🚀 launch", "می\u200cخواهم", "[bold]:smile:"]
)
def test_ordinary_text_of_any_script_stays(text: str) -> None:
    assert clean(text) == text


def test_long_text_is_cut() -> None:
    assert clean("x" * 1_000_000, limit=10) == "x" * 9 + "…"


def test_figures_are_in_words() -> None:
    assert [size(n) for n in (None, 0, 999, 1000, 1_055_736, 999_960, 5e12)] == [
        "–",
        "0 B",
        "999 B",
        "1.0 kB",
        "1.1 MB",
        "1.0 MB",
        "5.0 TB",
    ]
    assert [duration(s) for s in (None, 5.3, 75, 3675)] == ["–", "0:05", "1:15", "1:01:15"]
    assert short_id("video-3f9c01ab0000000000000000") == "video-3f9c01ab"
