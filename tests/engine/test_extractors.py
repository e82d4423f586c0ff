"""The short way to the extractor of a URL leads where yt-dlp's own does."""

from __future__ import annotations

from itertools import islice

import pytest
from yt_dlp.extractor import gen_extractor_classes

from reelin.engine.child.extractors import Extractors


@pytest.fixture(scope="module")
def extractors() -> Extractors:
    return Extractors()


def in_turn(extractors: Extractors, url: str) -> str:
    return next(key for key, extractor in extractors.by_key.items() if extractor.suitable(url))


def test_the_extractor_is_the_one_that_yt_dlp_finds_by_asking_each_in_turn(extractors: Extractors) -> None:
    urls = [
        test["url"]
        for extractor in gen_extractor_classes()[::20]
        for test in islice(extractor.get_testcases(include_onlymatching=True), 3)
    ]
    keys = {url: extractors.key_for(url) for url in urls}
    assert len(set(keys.values())) > 50
    assert keys == {url: in_turn(extractors, url) for url in urls}


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://www.youtube.com/watch?v=BaW_jenozKc", "Youtube"),
        ("https://www.youtube.com/playlist?list=PLwiyx1dc3P2JR9N8gQaQN_BCvlSlap7re", "YoutubeTab"),
        ("http://127.0.0.1:8000/file/200000/example.mp4", "Generic"),
        ("https://example.org/", "Generic"),
        ("ytsearch5:a search is not what a URL is for", "YoutubeSearch"),
    ],
)
def test_whose_url_it_is(extractors: Extractors, url: str, key: str) -> None:
    assert extractors.key_for(url) == key == in_turn(extractors, url)
