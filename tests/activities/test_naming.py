from __future__ import annotations

import unicodedata
from datetime import date

import pytest

from reelin.activities.naming import published_stem, relative_path
from reelin.contracts.media import Metadata
from reelin.contracts.options import DEFAULT_FILENAME


def metadata(title: str = "A title", identifier: str = "a1", **fields: object) -> Metadata:
    common = {"url": "https://example.org/v", "extractor": "Example", "extractor_id": identifier, "title": title}
    return Metadata.model_validate({**common, **fields})


def stem(title: str, template: str = "{title}", *, identifier: str = "a1", max_bytes: int = 180) -> str:
    described = metadata(title, identifier)
    return published_stem(described, template, preset="best", index=None, max_bytes=max_bytes)


def test_a_template_is_filled_with_every_field() -> None:
    video = metadata("T", "a1", uploader="U", uploaded_on=date(2024, 2, 29))
    template = "{index} {date} {uploader} {title} [{id}] {preset}"
    name = published_stem(video, template, preset="720p", index=7)
    assert name == "7 2024-02-29 U T [a1] 720p"


def test_what_is_not_known_is_said_or_left_out() -> None:
    name = published_stem(metadata(), "{uploader} {date} {index}{title}", preset="best", index=None)
    assert name == "unknown unknown A title"


def test_braces_in_a_title_are_no_fields() -> None:
    assert stem("{id} {0} {x!r}", "{title} {{kept}}") == "{id} {0} {x!r} {kept}"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("a/b\\c:d*e?f\"g<h>i|j", "a_b_c_d_e_f_g_h_i_j"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "unknown"),
        (".", "unknown"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("~root", "root"),
        ("$HOME", "_HOME"),
        ("100%", "100_"),
        ("%(title)s", "_(title)s"),
        ("`id`", "_id_"),
        ("two\nlines\r\n\tand tabs", "two lines and tabs"),
        ("nul\x00byte", "nulbyte"),
        ("bell\x07 escape\x1b[0m", "bell escape[0m"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\u2066isolate\u2069 \u200fmark", "isolate mark"),
        ("trailing dots...", "trailing dots"),
        ("trailing spaces   ", "trailing spaces"),
        ("   ", "unknown"),
        ("\u200b\u202e", "unknown"),
        ("no\u00a0break\u3000space", "no break space"),
        ("lone \ud800surrogate", "lone surrogate"),
        ("日本語 タイトル", "日本語 タイトル"),
    ],
)  # fmt: skip
def test_a_hostile_title_becomes_one_safe_part_of_a_path(title: str, name: str) -> None:
    # As the engine would not have let it through, but this does not rely on that.
    video = metadata().model_copy(update={"title": title})
    assert published_stem(video, "{title}", preset="best", index=None) == name


@pytest.mark.parametrize("title", ["CON", "nul", "Com1", "LPT9", "aux.h", "PRN .txt", "COM¹"])
def test_a_name_that_windows_reserves_is_defused(title: str) -> None:
    assert stem(title) == f"_{title}"


@pytest.mark.parametrize("title", ["Console", "Nullify", "COM10", "auxiliary"])
def test_a_name_that_only_begins_like_a_reserved_one_stays(title: str) -> None:
    assert stem(title) == title


def test_names_are_composed_so_that_every_system_spells_them_alike() -> None:
    assert stem("Cafe\u0301") == unicodedata.normalize("NFC", "Café")


def test_an_emoji_made_of_several_stays_whole() -> None:
    assert stem("to the moon 👩\u200d🚀") == "to the moon 👩\u200d🚀"


@pytest.mark.parametrize("limit", range(12, 40))
@pytest.mark.parametrize("title", ["👩\u200d🚀" * 10, "🇩🇪é" * 20, "中文" * 30, "a\u0301\u0323" * 30, "👍🏽" * 12])
def test_a_cut_breaks_neither_code_points_nor_emoji(title: str, limit: int) -> None:
    name = stem(title, max_bytes=limit)
    assert 0 < len(name.encode()) <= limit
    assert not name.endswith("\u200d")
    assert unicodedata.normalize("NFC", title).startswith(name)
    if "\u200d" in title:
        assert name.replace("👩\u200d🚀", "") == ""


@pytest.mark.parametrize("title", ["x" * 300, "é" * 300, "日" * 300, "👩\u200d🚀" * 100])
def test_a_long_title_is_cut_and_the_id_stays_whole(title: str) -> None:
    name = stem(title, DEFAULT_FILENAME, identifier="dQw4w9WgXcQ")
    assert name.endswith(" [dQw4w9WgXcQ]")
    assert 150 < len(name.encode()) <= 180


def test_a_title_gives_way_in_any_template_that_has_one() -> None:
    name = published_stem(metadata("x" * 300, "abc"), "{title} - {id} - {preset}", preset="720p", index=None)
    assert name.endswith("x - abc - 720p")
    assert len(name) == 180


def test_a_monstrous_id_does_not_push_the_title_out() -> None:
    name = stem("A title that is long enough to be cut", DEFAULT_FILENAME, identifier="i" * 500)
    assert name.startswith("A title that is long")
    assert len(name.encode()) <= 180


@pytest.mark.parametrize("limit", [1, 5, 20, 180])
def test_a_name_never_exceeds_its_bytes(limit: int) -> None:
    assert len(stem("漢字 and more " * 40, DEFAULT_FILENAME, identifier="id" * 50, max_bytes=limit).encode()) <= max(
        limit, len("unknown")
    )


def test_a_free_name_is_used_as_it_is() -> None:
    assert relative_path(None, "A title", ".mp4", lambda _: False) == "A title.mp4"
    assert relative_path("shows/news", "A title", ".en.vtt", lambda _: False) == "shows/news/A title.en.vtt"


def test_a_taken_name_is_numbered_before_its_suffix() -> None:
    taken = {"news/A.mp4", "news/A (2).mp4"}
    assert relative_path("news", "A", ".mp4", taken.__contains__) == "news/A (3).mp4"
