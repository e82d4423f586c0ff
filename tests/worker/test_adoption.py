"""`reelin adopt`: on purpose only, and it says what there is to choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelin.activities.marker import MARKER, read_marker
from reelin.errors import StartupError
from reelin.library import Library
from reelin.settings import Settings
from reelin.worker.adoption import adopt


def settings(tmp_path: Path, media: str, data: str = "data") -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / data, media_dir=tmp_path / media)  # type: ignore[call-arg]


async def run(
    chosen: Settings, *, beside: bool = False, in_place_of: str | None = None, take_over: bool = False
) -> str:
    return await adopt(chosen, beside=beside, in_place_of=in_place_of, take_over=take_over)


async def known(chosen: Settings) -> list[str]:
    library = Library(chosen.database_url)
    await library.open()
    try:
        return [folder.id for folder in await library.media_folders.marked()]
    finally:
        await library.close()


async def test_the_first_folder_needs_no_word_and_a_further_one_does(tmp_path: Path) -> None:
    first, second = settings(tmp_path, "first"), settings(tmp_path, "second")
    assert "now" in await run(first)
    assert "already" in await run(first)
    with pytest.raises(StartupError, match=r"--in-place-of ID.*--beside") as refused:
        await run(second)
    (media_id,) = await known(first)
    assert media_id[:8] in str(refused.value) and not (tmp_path / "second" / MARKER).exists()
    await run(second, beside=True)
    assert await known(first) == [media_id, read_marker(tmp_path / "second")]


async def test_a_folder_takes_the_place_of_one_that_is_named(tmp_path: Path) -> None:
    first, second = settings(tmp_path, "first"), settings(tmp_path, "second")
    await run(first)
    (media_id,) = await known(first)
    with pytest.raises(StartupError, match="0 media folders"):
        await run(second, in_place_of="zz")
    await run(second, in_place_of=media_id[:6])
    assert read_marker(tmp_path / "second") == media_id and await known(first) == [media_id]


async def test_anothers_folder_is_taken_over_only_where_that_is_said_and_gets_a_new_id(tmp_path: Path) -> None:
    first, intruder = settings(tmp_path, "media"), settings(tmp_path, "media", data="intruder")
    await run(first)
    (media_id,) = await known(first)
    with pytest.raises(StartupError, match="another installation"):
        await run(intruder)
    assert read_marker(tmp_path / "media") == media_id
    await run(intruder, take_over=True)
    (taken,) = await known(intruder)
    assert read_marker(tmp_path / "media") == taken != media_id


async def test_a_spoilt_marker_is_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    chosen = settings(tmp_path, "media")
    await run(chosen)
    (media_id,) = await known(chosen)
    (tmp_path / "media" / MARKER).write_text("rubbish")
    with pytest.raises(StartupError, match="--take-over"):
        await run(chosen)
    await run(chosen, take_over=True, in_place_of=media_id)
    assert read_marker(tmp_path / "media") == media_id
