"""What a site or a client may send, at its worst."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from reelin.contracts.options import FILENAME_FIELDS, PRESETS, Options

#: One title that tries everything: markup, Markdown, terminal sequences (a title, a link, the clipboard), line breaks
#: that would begin an event, a header or a log line, templates, arguments, and marks that turn the text round.
TITLE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> [red]bold[/red] **md** ![i](http://evil.example/x) `c` "
    "\x1b[2J\x1b]0;pwned\x07\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\\x1b]52;c;cm0=\x07\x9b31m"
    "\r\n\r\nevent: end\r\ndata: {}\r\n\r\n2026-01-01T00:00:00Z [info     ] forged\u2028\u2029\x85"
    "\"},{'; --exec=rm -i /etc/passwd $(id) ${HOME} %(title)s {0} ../../etc \u202egpj.exe\u202c\u200f"
)

#: What a terminal or a pager could act on. A line break is looked for on its own.
UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_SNIPPETS = (
    *("..", "/", "\\", "../", "~", "-", "--exec", ".", "...", "\x00", "\n", "\r\n", "\x1b[31m", "\x7f", "\x85"),
    *("\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u2028", "\ud800", "\udfff", "\uff0f", "\u2215", "\u29f8"),
    *("CON", "nul", "COM1", "LPT9.x", "aux ", "PRN.", "COM¹", " ", "\u00a0", "\u3000", "$HOME", "%(title)s", "`id`"),
    *(
        "{",
        "}",
        "{title}",
        "{id}",
        "{{",
        "é",
        "e\u0301",
        "日",
        "👩\u200d🚀",
        "🇩🇪",
        "a",
        "film",
        "<b>",
        "[x]",
        ":",
        "|",
        "*",
    ),
)

#: Any text at all, lone surrogates and NUL included; often made of what has hurt somebody.
any_text = st.one_of(
    st.text(st.characters(), max_size=40),
    st.lists(st.sampled_from(_SNIPPETS), max_size=12).map("".join),
    st.builds(lambda part, times: part * times, st.sampled_from(_SNIPPETS), st.integers(1, 300)),
    st.just(TITLE),
)


def _without(characters: str, text: str) -> str:
    return "".join(each for each in text if each.isprintable() and each not in characters)


#: What comes nearer to being accepted, so that much of it is.
_nearly = any_text.map(lambda text: _without("/\\{}", text)[:60])
_part = any_text.map(lambda text: _without('/\\<>:"|?*%$', text).strip(" .~-")[:30])
_fields = st.sampled_from(sorted(f"{{{name}}}" for name in FILENAME_FIELDS))
templates = st.one_of(
    st.builds(lambda field, parts: field + "".join(parts), _fields, st.lists(st.one_of(_fields, _nearly), max_size=5)),
    st.builds(lambda before, field, after: before + field + after, _nearly, _fields, _nearly),
    st.builds(lambda before, field, after: before + field + after, any_text, _fields, any_text),
)
folders = st.one_of(
    st.lists(_part, min_size=1, max_size=5).map("/".join),
    _part,
    st.sampled_from(("shows/news", "CON", "a/aux.d", "com1")),
    st.lists(any_text, min_size=1, max_size=6).map("/".join),
)

_SELECTOR_PARTS = (
    *("b", "bv*", "ba", "w", "all", "mergeall", "137", "hls-1", "+", "/", ",", "(", ")", "[", "]", "[height<=720]"),
    *(
        "[ext=mp4]",
        "[format_id*='a,b']",
        "-",
        "--exec",
        "-i",
        "/etc/passwd",
        " ",
        "\n",
        "?",
        "^=",
        "'",
        '"',
        ";",
        "$(id)",
    ),
)
selectors = st.one_of(any_text, st.lists(st.sampled_from(_SELECTOR_PARTS), min_size=1, max_size=8).map("".join))

_languages = st.one_of(
    st.sampled_from(("en", "pt-BR", "zh-Hans-CN", "all")), st.sampled_from(("-en", ".*", "en.*")), any_text
)
_categories = st.lists(st.sampled_from(("sponsor", "intro", "filler", "hook", "all", "--x")), max_size=4)
_seconds = st.one_of(
    st.floats(0, 1_000_000), st.integers(0, 1000), st.floats(allow_nan=True, allow_infinity=True), any_text
)


def _mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Or something of another type."""
    return st.one_of(good, good, good, good, st.one_of(st.none(), st.booleans(), st.integers(), any_text, st.just([])))


def _objects(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_sections = st.tuples(st.integers(0, 1000), st.integers(1, 1000)).map(
    lambda pair: {"start_seconds": pair[0], "end_seconds": pair[0] + pair[1]}
)
_any_section = _objects({"start_seconds": _seconds, "end_seconds": _seconds})

#: Options whose parts are of the right type, and may be refused all the same.
options = _objects(
    {
        "format": selectors,
        "container": st.sampled_from(("original", "mp4", "mkv", "webm", "mp3", "m4a", "opus")),
        "subtitles": st.fixed_dictionaries(
            {"languages": st.lists(_languages, min_size=1, max_size=4)},
            optional={"automatic": st.booleans(), "embed": st.booleans()},
        ),
        "write_thumbnail": st.booleans(),
        "embed_thumbnail": st.booleans(),
        "embed_metadata": st.booleans(),
        "embed_chapters": st.booleans(),
        "sponsorblock": _objects({"mark": _categories, "remove": _categories}),
        "sections": st.lists(st.one_of(_sections, _sections, _any_section), max_size=4),
        "max_bytes": st.integers(min_value=0),
        "rate_limit_bytes_per_second": st.integers(min_value=1000),
        "concurrent_fragments": st.integers(0, 17),
        "folder": folders,
        "filename": templates,
        "cookies": st.one_of(st.sampled_from(("jar", "other")), any_text),
        "items": st.one_of(st.just("1-3,5"), any_text),
        "max_items": st.integers(),
        "reverse": st.booleans(),
        "only_new": st.booleans(),
    }
)
#: One option at a time reaches further than all at once, where one that is refused refuses the rest.
few_options = st.builds(
    lambda given, kept: {name: value for name, value in given.items() if name in kept},
    options,
    st.sets(st.sampled_from(sorted(Options.model_fields)), min_size=1, max_size=6),
)
presets = st.sampled_from(sorted(PRESETS))

urls = st.one_of(
    st.sampled_from(
        ("https://example.org/watch?v=1", "http://example.org/a b", "http://127.0.0.1/", "http://[::1]/", "http://[")
    ),
    any_text,
    any_text.map(lambda text: f"https://example.org/{text}"),
    any_text.map(lambda text: f"https://{text}/"),
)

_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(any_text, inner, max_size=4)),
    max_leaves=8,
)

_good = st.fixed_dictionaries(
    {"url": _nearly.map(lambda text: f"https://example.org/{''.join(text.split())}")},
    optional={
        "kind": st.sampled_from(("auto", "video", "info")),
        "preset": presets,
        "options": few_options,
        "priority": st.integers(1, 5),
        "force": st.booleans(),
    },
)

#: Anything that JSON can say, mostly near to a submission, and often one.
bodies = st.one_of(
    _json,
    _good,
    _good,
    st.builds(
        lambda submission, extra: {**extra, **submission},
        _objects(
            {
                "url": _mostly(urls),
                "kind": _mostly(st.sampled_from(("auto", "video", "info", "playlist", "bulk"))),
                "preset": _mostly(presets),
                "options": _mostly(options),
                "priority": _mostly(st.integers(0, 6)),
                "force": _mostly(st.booleans()),
                "preview": st.booleans(),
                "skip_invalid": st.booleans(),
                "urls": _json,
            }
        ),
        st.one_of(st.just({}), st.just({}), st.dictionaries(any_text, _json, max_size=2)),
    ),
)
