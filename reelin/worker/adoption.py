"""`reelin adopt`: a person says that a library goes on in a media folder that it does not know."""

from __future__ import annotations

from reelin.activities import MediaFolder
from reelin.activities.marker import Unreadable, new_media_id, read_marker
from reelin.engine.filethreads import FileThreads
from reelin.errors import StartupError
from reelin.library import Library, MediaFolderRecord
from reelin.settings import Settings


async def adopt(settings: Settings, *, beside: bool, in_place_of: str | None, take_over: bool) -> str:
    """Returns what was done. Raises StartupError where the person has to say more."""
    library = Library(settings.database_url)
    await library.open()
    try:
        media = MediaFolder(
            library, FileThreads("media"), media_dir=settings.media_dir, scratch_dir=settings.scratch_dir
        )
        return await _adopt(library, media, beside=beside, in_place_of=in_place_of, take_over=take_over)
    except OSError as error:
        raise StartupError(f"The folder {settings.media_dir} cannot be written ({error.strerror}).") from error
    finally:
        await library.close()


async def _adopt(
    library: Library, media: MediaFolder, *, beside: bool, in_place_of: str | None, take_over: bool
) -> str:
    marked = await library.media_folders.marked()
    mark = await media.threads.run(_mark_of, media)
    if mark is not None and not take_over:
        if await library.media_folders.find(mark) is not None:
            await library.media_folders.note_marked(mark)
            return f"{media.media_dir} is a media folder of this library already."
        raise StartupError(
            f"{media.media_dir} belongs to another installation of Reelin. If that one is no more, or is to lose it: "
            "reelin adopt --take-over."
        )
    media_id = await _chosen(library, marked, beside=beside, in_place_of=in_place_of)
    await media.threads.run(media.media_dir.mkdir, parents=True, exist_ok=True)
    await media.adopt(media_id, replace=take_over)
    return f"{media.media_dir} is a media folder of this library now; what waits for it goes on within a minute."


async def _chosen(library: Library, marked: list[MediaFolderRecord], *, beside: bool, in_place_of: str | None) -> str:
    if in_place_of is not None:
        fits = [folder.id for folder in marked if folder.id.startswith(in_place_of)]
        if len(fits) != 1:
            raise StartupError(
                f"{len(fits)} media folders begin with {in_place_of!r}. {await _listed(library, marked)}"
            )
        return fits[0]
    if marked and not beside:
        raise StartupError(
            f"The library has a media folder already. {await _listed(library, marked)} If this one takes the place of "
            "one of them (its files were moved here, or are lost): reelin adopt --in-place-of ID. If it is a further "
            "one, of another worker: reelin adopt --beside."
        )
    return new_media_id()


async def _listed(library: Library, marked: list[MediaFolderRecord]) -> str:
    counts = await library.media_folders.file_counts()
    shown = ", ".join(f"{each.id[:8]} ({each.place}, {counts.get(each.id, 0)} files)" for each in marked)
    return f"It has: {shown or 'none'}."


def _mark_of(media: MediaFolder) -> str | None:
    try:
        return read_marker(media.media_dir)
    except Unreadable:
        return ""  # nobody's id, and yet a marker
