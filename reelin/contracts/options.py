"""What a client may ask of a download: a typed allow-list. Nothing else reaches yt-dlp."""

from __future__ import annotations

import re
import string
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from reelin.contracts.model import Request
from reelin.errors import InvalidInput

Container = Literal["original", "mp4", "mkv", "webm", "mp3", "m4a", "opus"]
AUDIO_CONTAINERS = frozenset({"mp3", "m4a", "opus"})

#: A preset's name and what it asks of yt-dlp: a format selector, and for audio the container.
PRESETS: dict[str, str] = {
    "best": "bv*+ba/b",
    **{f"{height}p": f"bv*[height<={height}]+ba/b[height<={height}]" for height in (2160, 1440, 1080, 720, 480, 360)},
    "smallest": "wv*+wa/w",
    "audio-mp3": "ba/b",
    "audio-m4a": "ba[ext=m4a]/ba/b",
    "audio-opus": "ba[acodec=opus]/ba/b",
}
PRESET_CONTAINERS: dict[str, Container] = {"audio-mp3": "mp3", "audio-m4a": "m4a", "audio-opus": "opus"}
DEFAULT_PRESET = "best"

FILENAME_FIELDS = frozenset({"title", "id", "uploader", "date", "index", "preset"})
DEFAULT_FILENAME = "{title} [{id}]"
MAX_FOLDER_PARTS = 5
#: What Windows takes for a device, with or without an extension.
RESERVED_NAME = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[0-9¹²³]|LPT[0-9¹²³])(?=\.|\s|$)", re.IGNORECASE)
SPONSORBLOCK_CATEGORIES = Literal[
    "sponsor", "intro", "outro", "selfpromo", "preview", "filler", "interaction", "music_offtopic", "hook"
]
_LANGUAGE = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"


def check_preset(name: str) -> str:
    if name not in PRESETS:
        raise InvalidInput(f"There is no preset {name[:60]!r}.", remedy=f"Use one of: {', '.join(PRESETS)}.")
    return name


def check_folder(folder: str) -> str:
    """A folder below the media folder: relative, at most five parts, each an ordinary name."""
    remedy = "Give a relative folder such as 'shows/news', with at most five parts and none that begins with a dot."
    parts = folder.strip().split("/")
    if len(parts) > MAX_FOLDER_PARTS:
        raise InvalidInput(f"The folder has {len(parts)} parts.", remedy=remedy)
    for part in parts:
        bad = (
            not part
            or part != part.strip()
            or part.startswith((".", "~", "-"))
            or part.endswith(".")
            or RESERVED_NAME.match(part)
            or len(part.encode()) > 120
            or any(character in '\\<>:"|?*%$`' or not character.isprintable() for character in part)
        )
        if bad:
            raise InvalidInput(f"The folder's part {part[:60]!r} is not allowed.", remedy=remedy)
    return "/".join(parts)


def check_filename(template: str) -> str:
    """A file name template with safe fields only, and no separator: metadata never makes a folder."""
    remedy = f"Use plain text and the fields {', '.join('{' + name + '}' for name in sorted(FILENAME_FIELDS))}."
    if "/" in template or "\\" in template or any(not character.isprintable() for character in template):
        raise InvalidInput("A file name has no '/' or '\\' and no control characters.", remedy=remedy)
    if template.lstrip().startswith((".", "~", "-")):
        raise InvalidInput("A file name does not begin with '.', '~' or '-'.", remedy=remedy)
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InvalidInput(f"The template cannot be read: {error}.", remedy=remedy) from error
    fields = [(name, spec, conversion) for _, name, spec, conversion in parsed if name is not None]
    for name, spec, conversion in fields:
        if name not in FILENAME_FIELDS or spec or conversion:
            raise InvalidInput(f"The template's field {{{name[:40]}}} is not one of the safe ones.", remedy=remedy)
    if not fields:
        raise InvalidInput("The template names no field, so every video would get one name.", remedy=remedy)
    return template


def check_items(items: str) -> str:
    remedy = "Write positions and ranges, such as '1-10,15'."
    spans = items.replace(" ", "")
    if not re.fullmatch(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", spans):
        raise InvalidInput("The range cannot be read.", remedy=remedy)
    for span in spans.split(","):
        first, _, last = span.partition("-")
        if not 1 <= int(first) <= int(last or first):
            raise InvalidInput(f"The range {span!r} holds no position: they count from 1, upwards.", remedy=remedy)
    return spans


class Subtitles(Request):
    languages: Annotated[tuple[Annotated[str, Field(pattern=_LANGUAGE)], ...], Field(min_length=1, max_length=50)]
    automatic: bool = False
    embed: bool = False


class SponsorBlock(Request):
    mark: Annotated[tuple[SPONSORBLOCK_CATEGORIES, ...], Field(max_length=9)] = ()
    remove: Annotated[tuple[SPONSORBLOCK_CATEGORIES, ...], Field(max_length=9)] = ()


class Section(Request):
    start_seconds: float = Field(ge=0, le=1_000_000)
    end_seconds: float = Field(gt=0, le=1_000_000)

    @model_validator(mode="after")
    def _in_order(self) -> Section:
        if self.end_seconds <= self.start_seconds:
            raise InvalidInput("The section ends before it begins.", remedy="Make end_seconds greater.")
        return self


class Options(Request):
    """All optional. By default nothing is embedded and nothing re-encoded."""

    format: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        None, description="A yt-dlp format selector; it overrides the preset's", examples=["bv*[height<=720]+ba/b"]
    )
    container: Container | None = None
    subtitles: Subtitles | None = None
    write_thumbnail: bool = False
    embed_thumbnail: bool = False
    embed_metadata: bool = False
    embed_chapters: bool = False
    sponsorblock: SponsorBlock | None = None
    sections: Annotated[tuple[Section, ...], Field(max_length=50)] = ()
    max_bytes: int | None = Field(None, gt=0)
    rate_limit_bytes_per_second: int | None = Field(None, ge=1024)
    concurrent_fragments: int = Field(4, ge=1, le=16)
    folder: Annotated[str, Field(max_length=400), AfterValidator(check_folder)] | None = None
    filename: Annotated[str, Field(max_length=200), AfterValidator(check_filename)] | None = Field(
        None, examples=["{uploader} - {title}"]
    )
    cookies: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] | None = Field(
        None, description="The name of a cookie jar"
    )
    items: Annotated[str, Field(max_length=1000), AfterValidator(check_items)] | None = Field(
        None, description="Playlists: positions and ranges", examples=["1-10,15"]
    )
    max_items: int | None = Field(None, ge=1, le=100_000)
    reverse: bool = False
    only_new: bool = False
    at_once: int | None = Field(None, ge=1, le=500, description="Batches: items in flight at once")

    def shaping(self, preset: str) -> dict[str, object]:
        """What decides which file comes out: two submissions that agree in it are one job.

        How fast it is fetched does not count. Which part of a playlist is wanted does, until the playlist has been
        taken apart: see `for_items`.
        """
        speed = {"rate_limit_bytes_per_second", "concurrent_fragments", "at_once"}
        chosen = self.model_dump(mode="json", exclude=speed, exclude_defaults=True)
        return {"preset": None if self.format and preset not in PRESET_CONTAINERS else preset, **chosen}

    def for_items(self) -> Options:
        """For the items of a batch: what concerns the playlist as a whole is done with."""
        if not (self.items or self.max_items or self.reverse or self.only_new or self.at_once):
            return self
        whole = {"items": None, "max_items": None, "reverse": False, "only_new": False, "at_once": None}
        return self.model_copy(update=whole)

    def container_for(self, preset: str) -> Container:
        return self.container or PRESET_CONTAINERS.get(preset, "original")
