"""Whatever a site calls its video and a client its folder: what is written stands in the media folder, under a name
that is good everywhere."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator
from datetime import date
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from reelin.activities import publish
from reelin.activities.naming import published_stem
from reelin.contracts.jobs import Kind
from reelin.contracts.media import Downloaded, Metadata, Role, ScratchFile
from reelin.contracts.options import PRESETS, Options
from reelin.contracts.work import JobRequest
from reelin.engine.child.check import _safe_language
from tests.safety.hostile import TITLE, any_text, folders, presets, templates

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LONGEST_COMPONENT_BYTES = 255


def metadata(title: str, identifier: str, uploader: str | None) -> Metadata:
    """Not validated: the names are not to rely on what the engine lets through."""
    return Metadata.model_construct(
        url="https://example.org/",
        title=title,
        extractor="Generic",
        extractor_id=identifier,
        uploader=uploader,
        uploaded_on=date(2026, 1, 2),
    )


described = st.builds(metadata, any_text, any_text, st.one_of(st.none(), any_text))


def chosen(**wanted: object) -> Options:
    """The options, where a client may ask for them at all."""
    try:
        return Options.model_validate(wanted)
    except ValidationError:
        assume(False)
        raise


def job(options: Options, preset: str = "best") -> JobRequest:
    return JobRequest(
        job_id="video-1", run=1, kind=Kind.VIDEO, url="https://example.org/", site="example.org", owner="local",
        preset=preset, options=options,
    )  # fmt: skip


def found(described: Metadata, language: str = "en") -> Downloaded:
    named = (("media.mp4", Role.MEDIA, ".mp4"), ("media.vtt", Role.SUBTITLE, f".{_safe_language(language)}.vtt"))
    files = tuple(
        ScratchFile(name=name, role=role, suffix=suffix, size_bytes=1, sha256="0" * 64) for name, role, suffix in named
    )
    return Downloaded.model_construct(metadata=described, files=files)


@pytest.fixture(scope="module")
def media() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder).resolve()


def assert_good_everywhere(path: str, media: Path) -> None:
    target = (media / path).resolve()
    assert target.is_relative_to(media) and target != media
    parts = PurePosixPath(path).parts
    assert (*target.relative_to(media).parts,) == parts == PureWindowsPath(path).parts
    for part in parts:
        assert 0 < len(part.encode()) <= LONGEST_COMPONENT_BYTES
        assert not part.startswith(("-", ".", "~", " ")) and not part.endswith((".", " "))
        assert not set(part) & set('\\:*?"<>|$%`') and not set(part) & BIDI
        hidden = {each for each in part if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp", "Cf")}
        assert hidden <= {"\u200d"}
        # Python's own list; what stands before the first dot counts.
        assert not PureWindowsPath(part).is_reserved()
        assert not PureWindowsPath(part.partition(".")[0].rstrip()).is_reserved()


@given(described, templates, presets, any_text)
@example(metadata(TITLE, TITLE, TITLE), "{title}", "best", TITLE)
@example(metadata("..", "..", ".."), "{title}", "best", "..")
@example(metadata("CON", "x", None), "{title}", "best", "en")
def test_no_metadata_and_no_template_leads_out_of_the_media_folder(
    media: Path, described: Metadata, template: str, preset: str, language: str
) -> None:
    options = chosen(filename=template)
    plan = publish.make_plan(job(options, preset), found(described, language), media, frozenset())
    for move in plan.moves:
        assert_good_everywhere(move.path, media)
        assert len(PurePosixPath(move.path).parts) == 1


@given(described, folders)
@example(metadata("T", "1", None), "CON/a")
@example(metadata("T", "1", None), "a/aux.d")
@example(metadata("T", "1", None), "a/b")
def test_no_folder_leads_out_of_the_media_folder(media: Path, described: Metadata, folder: str) -> None:
    options = chosen(folder=folder)
    plan = publish.make_plan(job(options), found(described), media, frozenset())
    for move in plan.moves:
        assert_good_everywhere(move.path, media)


@given(described, st.sampled_from((None, "{title}", "{uploader}", "{date} {preset}")))
def test_two_videos_of_one_name_are_two_files(described: Metadata, template: str | None) -> None:
    options = chosen(filename=template) if template else Options()
    with tempfile.TemporaryDirectory() as place:
        media = Path(place) / "media"
        media.mkdir()
        written = []
        for number in (1, 2, 3):
            scratch = Path(place) / f"scratch-{number}"
            scratch.mkdir()
            for name in ("media.mp4", "media.vtt"):
                (scratch / name).write_text(f"{number} {name}")
            plan = publish.make_plan(job(options), found(described), media, frozenset())
            publish.carry_out(plan, scratch, media, frozenset())
            written += [move.path for move in plan.moves]
        assert len({path.casefold() for path in written}) == 6
        assert sorted((media / path).read_text() for path in written) == sorted(
            f"{number} {name}" for number in (1, 2, 3) for name in ("media.mp4", "media.vtt")
        )


@given(described, templates, st.integers(1, 180))
def test_a_name_stays_within_the_bytes_that_it_may_have(described: Metadata, template: str, limit: int) -> None:
    chosen(filename=template)
    stem = published_stem(described, template, preset=max(PRESETS), index=None, max_bytes=limit)
    assert len(stem.encode()) <= max(limit, len("unknown"))
