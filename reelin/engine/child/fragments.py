"""HLS and DASH: streams of fragments, appended so that a kill at any moment neither doubles nor drops one.

yt-dlp appends to whatever `.part` holds, writes its record in place, and counts fragments in worker threads that run
ahead of the appending. Here a record (`NAME.ytdl`) vouches for a number of fragments *and* for the length they make;
it is replaced after each append, and on the next start the part is cut to that length.

What a fragment is depends on those before it: its number is its initialisation vector, and its byte range may begin
where the last one ended. So yt-dlp always reads the manifest from its beginning, and what is there is left out here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from yt_dlp.downloader import DashSegmentsFD, HlsFD

from reelin.contracts.failures import FailureKind
from reelin.engine.child.direct import FragmentFD, QuietFD
from reelin.engine.child.fragmentmeter import FragmentMeter
from reelin.engine.child.identity import stream_identity
from reelin.engine.child.records import is_count, read_record, this_boot, write_record
from reelin.engine.child.syncing import Syncing
from reelin.errors import MediaFailure

Context = dict[str, Any]

_FRAGMENT_SECONDS = re.compile(r"^#EXTINF:\s*(\d{1,6}(?:\.\d{1,9})?)", re.MULTILINE)
_ADVERTISEMENTS = ("#ANVATO-SEGMENT-INFO", "#UPLYNK-SEGMENT")

#: Initialisation fragments, which come before the others and are not among those that yt-dlp counts beforehand.
_MOST_UNCOUNTED = 100
_NOTHING = {"fragments": 0, "bytes": 0}


class CrashSafeFragments(QuietFD):
    """Over yt-dlp's FragmentFD. `ctx["appended"]` is the number of fragments in the part: nobody else writes it."""

    _lost: Exception | None = None

    def _prepare_and_start_frag_download(self, ctx: Context, info_dict: dict[str, Any]) -> None:
        ctx["identity"] = f"{stream_identity(info_dict)}|{ctx['total_frags']}"
        super()._prepare_and_start_frag_download(ctx, info_dict)

    def _prepare_frag_download(self, ctx: Context) -> None:
        ctx["appended"] = self._reconcile(ctx)
        super()._prepare_frag_download(ctx)
        ctx["dl"] = FragmentFD(self.ydl, self._fragment_params())

    def download_and_append_fragments(
        self, ctx: Context, fragments: Iterable[Context], info_dict: dict[str, Any], **how: Any
    ) -> Any:
        there = ctx["appended"]
        if isinstance(fragments, list) and fragments and there > fragments[-1]["frag_index"]:
            raise MediaFailure(FailureKind.RESUME_CONFLICT, "There is more of the stream on disk than it has.")
        missing = (fragment for fragment in fragments if fragment["frag_index"] > there)
        return super().download_and_append_fragments(ctx, missing, info_dict, **how)

    def _fragment_params(self) -> dict[str, Any]:
        """The rate limit is the stream's: each of its threads has a share of it."""
        threads = int(self.params.get("concurrent_fragment_downloads") or 1)
        limit = self.params.get("ratelimit")
        return {
            **self.params,
            "retries": self.params.get("fragment_retries"),
            "ratelimit": limit / threads if limit else None,
        }

    # What is on disk

    def _reconcile(self, ctx: Context) -> int:
        """Make the part what its record vouches for. Returns the number of fragments in it."""
        part, record = self._part(ctx), read_record(self._record(ctx)) or {}
        vouched = self._vouched(ctx, record)
        ctx["syncing"] = Syncing(_synced(record) if vouched else _NOTHING)
        if vouched is None:
            for leftover in (part, self._record(ctx), *self._fragments(part)):
                leftover.unlink(missing_ok=True)
            return 0
        os.truncate(part, vouched["bytes"])
        for fragment in self._fragments(part):
            if record["boot"] != this_boot() or not _is_ahead(fragment, vouched["fragments"]):
                fragment.unlink()
        return int(vouched["fragments"])

    def _vouched(self, ctx: Context, record: dict[str, Any]) -> dict[str, int] | None:
        """How many fragments and bytes of the part can be trusted, if any."""
        if ctx.get("live") or record.get("identity") != ctx["identity"]:
            return None
        vouched = record
        if record.get("boot") != this_boot():
            # Cues of subtitles that were being held back belong to the last append: nothing earlier is known of them.
            vouched = {} if record.get("extra_state") else _synced(record)
        fragments, length = vouched.get("fragments"), vouched.get("bytes")
        if not is_count(fragments) or not is_count(length) or not isinstance(record.get("extra_state", {}), dict):
            return None
        part = self._part(ctx)
        size = part.stat().st_size if part.is_file() else -1
        fits = fragments <= (ctx["total_frags"] or 0) + _MOST_UNCOUNTED and length <= size
        return {"fragments": fragments, "bytes": length} if fits else None

    def _part(self, ctx: Context) -> Path:
        return Path(self.temp_name(ctx["filename"]))

    def _record(self, ctx: Context) -> Path:
        return Path(self.ytdl_filename(ctx["filename"]))

    def _fragments(self, part: Path) -> list[Path]:
        return [entry for entry in part.parent.iterdir() if entry.name.startswith(f"{part.name}-Frag")]

    def _read_ytdl_file(self, ctx: Context) -> None:
        record = read_record(self._record(ctx)) or {}
        if "extra_state" in record:
            ctx["extra_state"] = record["extra_state"]

    def _write_ytdl_file(self, ctx: Context) -> None:
        part = self._part(ctx)
        length = part.stat().st_size if part.exists() else 0
        written = {"fragments": ctx["appended"], "bytes": length}
        if "dest_stream" in ctx:
            ctx["syncing"].offer(ctx["dest_stream"].fileno(), written)
        record = {"identity": ctx["identity"], "boot": this_boot(), **written, "synced": ctx["syncing"].reached}
        if "extra_state" in ctx:  # WebVTT: cues that later fragments may still lengthen.
            record["extra_state"] = ctx["extra_state"]
        write_record(self._record(ctx), record)

    # The fragments

    def _append_fragment(self, ctx: Context, frag_content: bytes) -> None:
        """Bytes first, then the record that vouches for them, then the fragment's own file goes."""
        ctx["dest_stream"].write(frag_content)
        ctx["dest_stream"].flush()
        ctx["appended"] += 1
        if ctx.get("live") is not True:
            self._write_ytdl_file(ctx)
        Path(ctx.pop("fragment_filename_sanitized")).unlink(missing_ok=True)

    def _start_frag_download(self, ctx: Context, info_dict: dict[str, Any]) -> float:
        start_bytes = ctx["complete_frags_downloaded_bytes"]
        meter = FragmentMeter(start_bytes, ctx["appended"], None if ctx.get("live") else ctx["total_frags"])

        def on_fragment(status: dict[str, Any]) -> None:
            meter.note(status)
            self._hook_progress({"filename": ctx["filename"], **meter.status()}, info_dict)

        ctx["dl"].add_progress_hook(on_fragment)
        self._hook_progress({"filename": ctx["filename"], **meter.status()}, info_dict)
        ctx["started"] = time.time()
        return float(ctx["started"])

    def _download_fragment(
        self,
        ctx: Context,
        frag_url: str,
        info_dict: dict[str, Any],
        headers: Any = None,
        request_data: Any = None,
    ) -> Any:
        """One that is lost loses the stream: no other thread begins another, to try it in vain for as long."""
        if self._lost is not None:
            raise self._lost
        try:
            return super()._download_fragment(ctx, frag_url, info_dict, headers, request_data)
        except Exception as error:
            self._lost = error
            raise

    def report_retry(self, err: Exception, *args: Any, **kwargs: Any) -> None:
        """A fragment's own downloader has tried again as often as it is worth; raise what it met, not its text."""
        raise err

    def _finish_frag_download(self, ctx: Context, info_dict: dict[str, Any]) -> bool:
        ctx["dest_stream"].close()
        ctx["syncing"].settle()
        part, target = self._part(ctx), Path(ctx["filename"])
        if not part.stat().st_size:
            raise MediaFailure(FailureKind.SITE_ERROR, "The site sent an empty stream.")
        self.keep(part, target, info_dict)
        part.replace(target)
        self._record(ctx).unlink(missing_ok=True)
        self.hook_finished(target, info_dict)
        return True


class NativeHlsFD(CrashSafeFragments, HlsFD):  # type: ignore[misc]
    """In place of yt-dlp's HlsFD."""

    def real_download(self, filename: str, info_dict: dict[str, Any]) -> Any:
        """The playlist is read here, to add up what it promises, and handed on."""
        if not info_dict.get("hls_media_playlist_data"):
            with closing(self.ydl.urlopen(self._prepare_url(info_dict, info_dict["url"]))) as answer:
                playlist = answer.read().decode("utf-8", "ignore")
                info_dict = {**info_dict, "url": answer.url, "hls_media_playlist_data": playlist}
        if info_dict.get("ext") != "vtt":
            self.ydl.promised(playlist_seconds(info_dict["hls_media_playlist_data"]))
        return super().real_download(filename, info_dict)


class DashFD(CrashSafeFragments, DashSegmentsFD):  # type: ignore[misc]
    """In place of yt-dlp's DashSegmentsFD."""

    def real_download(self, filename: str, info_dict: dict[str, Any]) -> Any:
        fragments = info_dict.get("fragments")
        if isinstance(fragments, list) and info_dict.get("ext") != "vtt":
            self.ydl.promised(sum(float(fragment.get("duration") or 0) for fragment in fragments))
        return super().real_download(filename, info_dict)


def playlist_seconds(playlist: str) -> float:
    """What an HLS playlist's fragments add up to; 0 where advertisements, which yt-dlp leaves out, are among them."""
    if any(mark in playlist for mark in _ADVERTISEMENTS):
        return 0.0
    return sum(float(seconds) for seconds in _FRAGMENT_SECONDS.findall(playlist))


def _synced(record: dict[str, Any]) -> dict[str, Any]:
    synced = record.get("synced")
    return synced if isinstance(synced, dict) else _NOTHING


def _is_ahead(fragment: Path, appended: int) -> bool:
    """Whole, and not in the stream yet."""
    number = fragment.name.rpartition("-Frag")[2]
    return number.isdigit() and int(number) > appended
