"""HTML pages and RSS feeds. Titles come from the query and may be hostile: all of it is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode, urljoin
from xml.sax.saxutils import escape, quoteattr

from reelin.origin.manifests import Inherited

DEFAULT_ITEM_BYTES = 200_000
_CLIP_SECONDS = 5
_CHAPTERS = (("The meadow", 0, 2), ("The bunny", 2, _CLIP_SECONDS))
#: Items of a feed that nobody can download. An item without any link is dropped by yt-dlp already.
ODD_LINKS = (
    "nonsense",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://10.1.2.3/private.mp4",
    "http://user:secret@example.org/video.mp4",
)
#: Characters that XML 1.0 cannot carry, not even escaped.
_NOT_XML = {code: None for code in range(32) if code not in (9, 10, 13)}


def video_page(base_url: str, name: str, query: Mapping[str, str], inherited: Inherited) -> str:
    """A page about one video, with schema.org data as video sites write it. The video is at `media`: the clip.

    It lasts as many seconds as `duration` says; of another video than the clip nothing is said without it.
    """
    title = query.get("title", f"The video {name}")
    seconds = query.get("duration", "" if "media" in query else _CLIP_SECONDS)
    data = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": title,
        "description": f"A test page about {title}",
        "thumbnailUrl": f"{base_url}/thumbnail.jpg",
        "uploadDate": "2015-01-01T12:00:00+00:00",
        **({"duration": f"PT{seconds}S"} if seconds else {}),
        "contentUrl": urljoin(base_url, inherited.link(query.get("media", "/clip.mp4"))),
        "author": {"@type": "Person", "name": query.get("uploader", "Blender Foundation")},
        "hasPart": [
            {"@type": "Clip", "name": chapter, "startOffset": start, "endOffset": end}
            for chapter, start, end in _CHAPTERS
        ],
    }
    # `</script>` in a title must not end the script.
    script = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return _html(title, "<p>A page with a video.</p>", f'<script type="application/ld+json">{script}</script>')


def plain_page() -> str:
    return _html("No video here", "<p>Nothing to see.</p>")


def index_page(links: Mapping[str, str]) -> str:
    items = "".join(f'<li><a href="{html.escape(path)}">{html.escape(path)}</a> {text}' for path, text in links.items())
    return _html("Reelin's local media server", f"<ul>{items}</ul>")


def feed(base_url: str, n_items: int, query: Mapping[str, str], inherited: Inherited, *, own_url: str) -> str:
    """An RSS feed of `n_items` files of `size` bytes. `name` tells the items of two feeds apart.

    `repeat` lists everything so many times. `odd` adds items that cannot be downloaded, `loop` the feed itself.
    """
    name, title = _names(query)
    n_bytes = int(query.get("size", DEFAULT_ITEM_BYTES))
    items = [
        _item(base_url, f"{name}-{number}", f"{title} {number}", n_bytes, inherited) for number in range(1, n_items + 1)
    ]
    items *= int(query.get("repeat", 1))
    items += [_link(f"Odd {link}", link) for link in ODD_LINKS] if query.get("odd") else []
    items += [_link("This feed", own_url)] if query.get("loop") else []
    return _rss(base_url, title, items)


def feed_of_feeds(base_url: str, n_feeds: int, query: Mapping[str, str]) -> str:
    """An RSS feed whose items are feeds of `items` files each."""
    name, title = _names(query)
    n_items, n_bytes = int(query.get("items", 2)), int(query.get("size", DEFAULT_ITEM_BYTES))
    feeds = [
        _link(
            f"{title} {number}",
            f"{base_url}/feed/{n_items}.rss?{urlencode({'name': f'{name}-{number}', 'size': n_bytes})}",
        )
        for number in range(1, n_feeds + 1)
    ]
    return _rss(base_url, title, feeds)


def xspf(base_url: str, n_items: int, query: Mapping[str, str], inherited: Inherited) -> str:
    """The same files as `feed`, as an XSPF playlist."""
    name, title = _names(query)
    n_bytes = int(query.get("size", DEFAULT_ITEM_BYTES))
    tracks = "".join(
        f"<track><title>{_xml(f'{title} {number}')}</title>"
        f"<location>{_xml(_file(base_url, f'{name}-{number}', n_bytes, inherited))}</location></track>\n"
        for number in range(1, n_items + 1)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/">'
        f"<title>{_xml(f'Feed of {title}')}</title><trackList>\n{tracks}</trackList></playlist>\n"
    )


def _names(query: Mapping[str, str]) -> tuple[str, str]:
    name = query.get("name", "item")
    return name, query.get("title", f"Video {name}")


def _rss(base_url: str, title: str, items: Sequence[str]) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0"><channel>'
        f"<title>{_xml(f'Feed of {title}')}</title><link>{base_url}/</link>"
        f"<description>{len(items)} files</description>\n{''.join(items)}</channel></rss>\n"
    )


def _link(title: str, url: str) -> str:
    return f"<item><title>{_xml(title)}</title><link>{_xml(url)}</link></item>\n"


def _file(base_url: str, name: str, n_bytes: int, inherited: Inherited) -> str:
    return base_url + inherited.link(f"/file/{n_bytes}/{quote(name, safe='')}.mp4")


def _item(base_url: str, name: str, title: str, n_bytes: int, inherited: Inherited) -> str:
    file = quoteattr(_file(base_url, name, n_bytes, inherited))
    return (
        f'<item><title>{_xml(title)}</title><guid isPermaLink="false">{_xml(name)}</guid>'
        f"<link>{base_url}/page/{quote(name, safe='')}</link><pubDate>Thu, 01 Jan 2015 12:00:00 GMT</pubDate>"
        f'<enclosure url={file} length="{n_bytes}" type="video/mp4"/></item>\n'
    )


def _xml(text: str) -> str:
    return escape(text.translate(_NOT_XML))


def _html(title: str, body: str, head: str = "") -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>{head}</head>'
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )
