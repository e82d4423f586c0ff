"""Playlists taken apart by the real engine, from the real origin; the endless ones at the extractor's seam."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yt_dlp.utils import smuggle_url, unified_timestamp

from reelin.contracts.failures import FailureKind
from reelin.contracts.options import Options
from reelin.engine.child.entries import MAX_LINE_BYTES, entry_of, line_of
from reelin.engine.child.feeddates import timestamp
from reelin.engine.child.listing import write_listing
from reelin.engine.pool import EnginePool
from reelin.engine.seam import DownloadTask, Entry, ExpandTask, Listing
from reelin.errors import MediaFailure, PlaylistFound
from reelin.origin.server import Origin
from tests.engine.running import ignore, media_of, task_for


def expand_task(url: str, folder: Path, run: int = 1, limit: int = 100_000, **options: Any) -> ExpandTask:
    return ExpandTask(
        job_id=folder.name, run=run, url=url, scratch_dir=str(folder), options=Options(**options), limit=limit
    )


def entries(folder: Path, listing: Listing) -> list[Entry]:
    lines = (folder / listing.path).read_bytes().splitlines()
    assert len(lines) == listing.total
    return [Entry.model_validate_json(line) for line in lines]


def written(listing: dict[str, Any], task: ExpandTask) -> tuple[Listing, list[Entry]]:
    result = write_listing(listing, task, lambda _: None)
    return result, entries(Path(task.scratch_dir), result)


async def test_a_feed_is_fetched_once_and_its_entries_are_left_alone(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    origin.clear_log()
    url = origin.url_for("/feed/3.rss", name="once", title="Film", size=50_000)
    listing = await pool.expand(expand_task(url, tmp_path), ignore)
    assert (listing.title, listing.truncated, listing.single, listing.fresh) == ("Feed of Film", False, False, True)
    found = entries(tmp_path, listing)
    assert [entry.url for entry in found] == [origin.url_for(f"/file/50000/once-{n}.mp4") for n in (1, 2, 3)]
    assert (found[0].playlist_index, found[0].title, found[0].id) == (1, "Film 1", "once-1")
    assert [record.path for record in origin.log] == ["/feed/3.rss"]


async def test_a_second_run_of_the_same_task_asks_nobody_again(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    url = origin.url_for("/feed/2.rss", name="again")
    first = await pool.expand(expand_task(url, tmp_path), ignore)
    origin.clear_log()
    second = await pool.expand(expand_task(url, tmp_path), ignore)
    assert (second, origin.log) == (first.model_copy(update={"fresh": False}), [])
    third = await pool.expand(expand_task(url, tmp_path, run=2), ignore)
    assert third.fresh and len(origin.log) == 1


async def test_a_listing_that_is_not_whole_is_made_again(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = expand_task(origin.url_for("/feed/2.rss", name="half"), tmp_path)
    first = await pool.expand(task, ignore)
    whole = (tmp_path / first.path).read_bytes()
    (tmp_path / first.path).write_bytes(whole[:-5])
    assert (await pool.expand(task, ignore)).fresh
    assert (tmp_path / first.path).read_bytes() == whole


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({"items": "2-3,5"}, [2, 3, 5]),
        ({"items": "5,1,1"}, [1, 5]),
        ({"items": "7-9"}, []),
        ({"max_items": 2}, [1, 2]),
        ({"max_items": 9}, [1, 2, 3, 4, 5]),
        ({"items": "2-5", "max_items": 2}, [2, 3]),
        ({"reverse": True}, [5, 4, 3, 2, 1]),
        ({"reverse": True, "max_items": 2}, [5, 4]),
        ({"items": "1-3", "reverse": True}, [3, 2, 1]),
        ({"max_items": 2, "only_new": True}, [1, 2, 3, 4, 5]),  # which of them are new, the library knows
    ],
)
async def test_the_options_choose_and_the_index_stays_the_playlists(
    pool: EnginePool, origin: Origin, tmp_path: Path, options: dict[str, Any], indices: list[int]
) -> None:
    listing = await pool.expand(expand_task(origin.url_for("/feed/5.rss"), tmp_path, **options), ignore)
    assert [entry.playlist_index for entry in entries(tmp_path, listing)] == indices
    assert not listing.truncated
    assert sorted(path.name for path in tmp_path.iterdir()) == ["listing.json", "listing.jsonl", "lock"]


async def test_entries_without_an_address_keep_their_place_and_say_why(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    listing = await pool.expand(expand_task(origin.url_for("/feed/1.rss", odd=1), tmp_path), ignore)
    found = entries(tmp_path, listing)
    assert [entry.url is not None for entry in found] == [True, False, False, False, True, True]
    assert [entry.playlist_index for entry in found] == [1, 2, 3, 4, 5, 6]
    assert {entry.reason for entry in found if entry.url is None} == {"The playlist gives no address for this entry."}


async def test_an_xspf_playlist_has_an_address_for_each_track_and_no_shared_id(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    listing = await pool.expand(expand_task(origin.url_for("/feed/2.xspf", name="track"), tmp_path), ignore)
    found = entries(tmp_path, listing)
    assert [entry.url for entry in found] == [origin.url_for(f"/file/200000/track-{n}.mp4") for n in (1, 2)]
    assert {entry.id for entry in found} == {None}


async def test_one_video_is_a_listing_of_itself(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/page/solo", title="Solo")
    listing = await pool.expand(expand_task(url, tmp_path), ignore)
    assert (listing.single, listing.total) == (True, 1)
    [entry] = entries(tmp_path, listing)
    assert (entry.url, entry.title, entry.playlist_index) == (url, "Solo", 1)


async def test_what_fails_to_open_is_told_by_its_kind(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(MediaFailure) as failure:
        await pool.expand(expand_task(origin.url_for("/status/404"), tmp_path), ignore)
    assert failure.value.kind == FailureKind.NOT_FOUND


async def test_ten_thousand_entries_travel_in_a_file_and_not_in_a_message(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    listing = await pool.expand(expand_task(origin.url_for("/feed/10000.rss"), tmp_path), ignore)
    assert len(listing.model_dump_json()) < 1000
    found = entries(tmp_path, listing)
    assert [entry.playlist_index for entry in found] == list(range(1, 10_001))
    assert len({entry.url for entry in found}) == 10_000


# Playlists that no local feed can be.


def endless(asked: list[int]) -> Iterator[dict[str, Any]]:
    for number in itertools.count(1):
        asked.append(number)
        yield {"_type": "url", "url": f"https://example.org/{number}"}


def test_an_endless_playlist_ends_at_the_limit_and_says_so(tmp_path: Path) -> None:
    asked: list[int] = []
    listing, found = written({"entries": endless(asked)}, expand_task("https://example.org", tmp_path, limit=50))
    assert (listing.total, listing.truncated, len(found), len(asked)) == (50, True, 50, 51)


def test_a_playlist_of_just_the_limit_is_whole(tmp_path: Path) -> None:
    whole = list(itertools.islice(endless([]), 50))
    listing, _ = written({"entries": whole}, expand_task("https://example.org", tmp_path, limit=50))
    assert (listing.total, listing.truncated) == (50, False)


@pytest.mark.parametrize("options", [{"max_items": 3}, {"items": "2-3"}, {"items": "3,1", "reverse": True}])
def test_no_more_entries_are_asked_for_than_are_wanted(tmp_path: Path, options: dict[str, Any]) -> None:
    asked: list[int] = []
    listing, _ = written({"entries": endless(asked)}, expand_task("https://example.org", tmp_path, **options))
    assert (asked, listing.truncated) == ([1, 2, 3], False)


def test_an_endless_playlist_in_reverse_begins_at_the_limit(tmp_path: Path) -> None:
    task = expand_task("https://example.org", tmp_path, limit=9, reverse=True, max_items=2)
    listing, found = written({"entries": endless([])}, task)
    assert ([entry.playlist_index for entry in found], listing.truncated) == ([9, 8], True)


def test_a_playlist_within_a_playlist_stands_in_its_place_unless_it_has_a_page(tmp_path: Path) -> None:
    part = {"_type": "url", "url": "https://example.org/part"}
    inner = {"_type": "multi_video", "entries": [part, {**part, "url": "https://example.org/part2"}]}
    paged = {"_type": "playlist", "webpage_url": "https://example.org/inner", "entries": [part]}
    _, found = written({"entries": [inner, None, paged]}, expand_task("https://example.org", tmp_path))
    assert [entry.url for entry in found] == [
        "https://example.org/part",
        "https://example.org/part2",
        None,
        "https://example.org/inner",
    ]
    assert [entry.playlist_index for entry in found] == [1, 2, 3, 4]


# Single entries.

URL = "https://example.org/v"


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ({"_type": "url", "url": URL}, URL),
        ({"_type": "url", "url": "//example.org/v"}, URL),
        ({"_type": "url", "url": "abc", "ie_key": "Youtube"}, "https://www.youtube.com/watch?v=abc"),
        ({"_type": "url", "url": "abc", "ie_key": "Kaltura"}, None),
        ({"_type": "url", "url": "file:///etc/passwd"}, None),
        ({"_type": "url", "url": 7}, None),
        ({"_type": "url"}, None),
        ({"_type": "url", "url": "https://example.org/" + "x" * 5000}, None),
        ({"_type": "url", "url": f"{URL}#__youtubedl_smuggle=%7Bbroken"}, None),
        ({"formats": [{"url": "https://example.org/low"}, {"url": URL}]}, URL),
        ({"formats": [{"url": "https://x.org/1", "manifest_url": URL}] * 2}, URL),
        ({"webpage_url": URL, "formats": [{"url": "https://example.org/low"}]}, URL),
        ({"webpage_url": "https://example.org/list", "formats": [{"url": URL}]}, URL),
        ({"formats": "nonsense"}, None),
        (None, None),
        ("text", None),
    ],
)
def test_an_entrys_address_is_what_yt_dlp_would_make_of_it(raw: object, url: str | None) -> None:
    entry = entry_of(raw, 1, {"webpage_url": "https://example.org/list"})
    assert (entry.url, entry.reason is None) == (url, url is not None)


def test_what_is_smuggled_in_an_address_is_dropped_but_for_the_id() -> None:
    smuggled = smuggle_url(URL, {"force_videoid": "episode-7", "http_headers": {"Ytdl-Request-Proxy": "http://evil"}})
    entry = entry_of({"_type": "url_transparent", "url": smuggled}, 1, {})
    assert (entry.url, entry.id) == (URL, "episode-7")


def test_texts_are_cleaned_and_a_line_is_bounded() -> None:
    raw = {
        "_type": "url",
        "url": URL,
        "title": "A\x00 title\u202e\n" + "\U0001f3ac" * 5000,
        "uploader": "\U0001f3ac" * 5000,
        "thumbnail": "https://example.org/" + "x" * 4000,
        "duration": float("nan"),
        "timestamp": "nonsense",
    }
    line = line_of(entry_of(raw, 1, {}))
    entry = json.loads(line)
    assert len(line) <= MAX_LINE_BYTES
    assert entry["title"].startswith("A title \U0001f3ac")
    assert entry.keys() <= {"playlist_index", "url", "title", "uploader"}


@pytest.mark.parametrize(
    "text",
    [
        "Thu, 01 Jan 2015 12:00:00 GMT",
        "Thu, 1 Jan 2015 12:00:00 +0200",
        "Thu, 01 Jan 2015 12:00:00 -0730",
        "Fri, 31 Feb 2015 12:00:00 GMT",
        "Thu, 01 Xyz 2015 12:00:00 GMT",
        "Thu, 01 Jan 2015 25:61:00 GMT",
        "Thu, 01 Jan 0000 12:00:00 GMT",
        "2015-01-01T12:00:00Z",
        "Thu, 01 Jan 2015 12:00:00 PST",
        "",
        None,
    ],
)
def test_the_date_of_a_feed_is_read_as_yt_dlp_reads_it(text: str | None) -> None:
    assert timestamp(text) == unified_timestamp(text)


# Downloads.


async def test_an_entry_of_a_feed_keeps_the_feeds_title_and_date(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    lists, folder = tmp_path / "list", tmp_path / "item"
    feed = origin.url_for("/feed/2.rss", name="plain-name", title="The real title", size=60_000)
    [_, entry] = entries(lists, await pool.expand(expand_task(feed, lists), ignore))
    assert entry.url is not None
    task = task_for(entry.url, folder).model_copy(update={"entry": entry.said()})
    downloaded = await pool.download(task, ignore)
    assert downloaded.metadata.title == "The real title 2"
    assert str(downloaded.metadata.uploaded_on) == "2015-01-01"
    assert media_of(downloaded, folder) == origin.reference("/file/60000/plain-name-2.mp4")


@pytest.mark.parametrize("entry", [{"title": "Of the list"}, {"title": "Of the list", "ie_key": "LongGone"}])
async def test_a_pages_own_title_goes_before_that_of_a_mere_reference(
    pool: EnginePool, origin: Origin, tmp_path: Path, entry: dict[str, Any]
) -> None:
    url = origin.url_for("/page/own", title="Of the page")
    downloaded = await pool.download(task_for(url, tmp_path).model_copy(update={"entry": entry}), ignore)
    assert downloaded.metadata.title == "Of the page"


@pytest.mark.parametrize("entry", [None, {"transparent": True, "title": "A feed in a feed"}])
async def test_a_download_that_comes_upon_a_playlist_says_so(
    pool: EnginePool, origin: Origin, tmp_path: Path, entry: dict[str, Any] | None
) -> None:
    task = task_for(origin.url_for("/feed/7.rss"), tmp_path)
    update = {"may_be_playlist": True, "entry": entry}
    with pytest.raises(PlaylistFound) as found:
        await pool.download(task.model_copy(update=update), ignore)
    assert (found.value.count, bool(found.value.title)) == (7, True)
    assert not pool.running_pids


async def test_a_playlist_where_a_video_was_asked_for_is_refused_with_the_way_out(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task: DownloadTask = task_for(origin.url_for("/feed/7.rss"), tmp_path)
    with pytest.raises(MediaFailure, match=r"a playlist of 7 entries, not one video\. Submit it with kind=playlist"):
        await pool.download(task, ignore)
