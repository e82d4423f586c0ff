"""HTML pages and RSS feeds. Titles come from the query and may be hostile: all of it is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from urllib.parse import quote, urljoin
from xml.sax.saxutils import escape, quoteattr

from reelin.origin.manifests import Inherited

DEFAULT_ITEM_BYTES = 200_000
_CLIP_SECONDS = 5
_CHAPTERS = (("The meadow", 0, 2), ("The bunny", 2, _CLIP_SECONDS))
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


def feed(base_url: str, n_items: int, query: Mapping[str, str], inherited: Inherited) -> str:
    """An RSS feed of `n_items` files of `size` bytes. `name` tells the items of two feeds apart."""
    name = query.get("name", "item")
    title = query.get("title", f"Video {name}")
    n_bytes = int(query.get("size", DEFAULT_ITEM_BYTES))
    items = "".join(
        _item(base_url, f"{name}-{number}", f"{title} {number}", n_bytes, inherited) for number in range(1, n_items + 1)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0"><channel>'
        f"<title>{_xml(f'Feed of {title}')}</title><link>{base_url}/</link>"
        f"<description>{n_items} files</description>\n{items}</channel></rss>\n"
    )


def _item(base_url: str, name: str, title: str, n_bytes: int, inherited: Inherited) -> str:
    file = quoteattr(base_url + inherited.link(f"/file/{n_bytes}/{quote(name, safe='')}.mp4"))
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
