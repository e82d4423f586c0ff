"""An error's text made fit for a client: what the site said, without yt-dlp's framing or anything of this machine."""

from __future__ import annotations

import re
import unicodedata

MAX_MESSAGE_LENGTH = 500

#: Removed in this order: whole tails of boilerplate first, then what stands round the message.
_BOILERPLATE: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"\x1b\[[0-9;?]*[ -/]*[@-~]",  # colours
        r";?\s*please report this issue on\b.*?(yt-dlp -U|$)",
        r"\s*\(caused by .*\)(?=\s*$)",
        r"\s*confirm you are on the latest version\b.*?(yt-dlp -U\b|$)",
        r"\s*you might want to use a VPN or a proxy\b.*?(workaround\.?|--proxy\)|$)",
        r"[.,;]?\s*(then |so )?use\s+--(cookies|username|netrc|list-formats|video-password|enable-file-urls|ap-mso)\b"
        r"[^.]*(\([^)]*\)[^.]*)?(\.|$)",
        r"\s*(also )?see\s+https?://github\.com/yt-dlp/\S+[^.\n]*\.?",
        r"\s*for more information, refer to\s+https?://github\.com/yt-dlp/\S+",
        r"\s*it is recommended to use `[^`]*`[^.]*\.",
        r",? (please |use |try )?(use |using |or )?(the )?--[a-z][\w-]+( option)?",
        r"^(\s*(error|warning|postprocessing|post hooks):\s*)+",
        r"^\s*\[(?!errno)[\w:.+-]+\]\s+([^\s:]{1,100}:\s+)?",
        r"^\s*\[download\] got error:\s*",
    )
)
#: A path of this machine, not of a URL; what stays is its last part. Spaces may stand in it.
_LOCAL_PATH = re.compile(r"(?<![\w/:.<])(?:file:)?/(?:[^/\n'\":;,|<>]{1,255}/)+")


def fit_for_client(text: str) -> str:
    """`text` as one line of at most 500 characters: no framing, escapes, boilerplate, control characters or paths."""
    for pattern in _BOILERPLATE:
        text = pattern.sub("", text)
    text = _LOCAL_PATH.sub("", text)
    text = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    text = re.sub(r" {2,}", " ", text).strip(" ;,")
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[: MAX_MESSAGE_LENGTH - 1].rstrip() + "…"
