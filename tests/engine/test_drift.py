"""What the engine's overrides stand on in yt-dlp, which is not its public interface.

A failure here means that a new yt-dlp has changed something that the named modules of Reelin replace or call. Compare
the two versions of it, adapt the modules, run all of tests/engine and bench/torture.py, put the new fingerprint here,
and then add the version to `YT_DLP_CHECKED` in engine/programs.py.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yt_dlp.version
from yt_dlp import YoutubeDL
from yt_dlp.downloader import DashSegmentsFD, HlsFD, HttpFD, _get_suitable_downloader, get_suitable_downloader
from yt_dlp.downloader.common import FileDownloader
from yt_dlp.downloader.external import FFmpegFD
from yt_dlp.downloader.fragment import FragmentFD
from yt_dlp.postprocessor import FFmpegPostProcessor
from yt_dlp.utils import RetryManager, parse_http_range
from yt_dlp.utils.networking import normalize_url

from reelin.engine.child import direct, downloader, fragments
from reelin.engine.programs import YT_DLP_CHECKED

ROOT = Path(__file__).parents[2]

#: What is overridden or called, by which of our modules, and the fingerprint of its source.
STANDS_ON: tuple[tuple[Callable[..., Any], str, str], ...] = (
    (YoutubeDL.dl, "downloader", "3460cd46047f"),
    (YoutubeDL.process_info, "downloader, task", "bf48c35f933e"),
    (YoutubeDL.process_ie_result, "downloader", "9f241d75003c"),
    (YoutubeDL.extract_info, "downloader", "61f33f40cbeb"),
    (YoutubeDL.close, "downloader", "e6236b076fa2"),
    (YoutubeDL.urlopen, "downloader, egress", "d60df7269df0"),
    (YoutubeDL.add_default_info_extractors, "downloader", "995a9bcec570"),
    (YoutubeDL._forceprint, "downloader", "493ac6782013"),
    (YoutubeDL._copy_infodict, "downloader", "f8cd597b8784"),
    (YoutubeDL._calc_headers, "downloader", "b44a43d48d1b"),
    (YoutubeDL.raise_no_formats, "downloader", "2a8877c698a1"),
    (get_suitable_downloader, "downloader", "8caca77648b8"),
    (_get_suitable_downloader, "downloader", "72ee26b0fdee"),
    (FileDownloader.download, "direct", "e741db27e2eb"),
    (FileDownloader.report_progress, "direct", "1d70026cb937"),
    (FileDownloader._hook_progress, "direct, foreign", "35e0e4bbfc90"),
    (FileDownloader.temp_name, "direct, fragments, foreign", "609cd7c2628e"),
    (FileDownloader.ytdl_filename, "fragments", "2faf0d0f163a"),
    (FileDownloader.report_retry, "fragments", "87050321c271"),
    (FileDownloader.slow_down, "transfer", "c72e6d4d362b"),
    (FileDownloader._get_impersonate_target, "transfer", "bb7a511f69e2"),
    (normalize_url, "task", "a265e5adb61d"),
    (parse_http_range, "transfer", "99295ab00511"),
    (HttpFD.real_download, "direct, transfer", "88f3c961f700"),
    (HlsFD.real_download, "fragments", "7932e59f8d4a"),
    (DashSegmentsFD.real_download, "fragments", "fe90fdba7515"),
    (DashSegmentsFD._get_fragments, "fragments", "404301c898e8"),
    (FragmentFD._prepare_and_start_frag_download, "fragments", "833d23bd8ceb"),
    (FragmentFD._prepare_frag_download, "fragments", "bba66f11ec28"),
    (FragmentFD._start_frag_download, "fragments", "b933bb6a1222"),
    (FragmentFD._read_ytdl_file, "fragments", "02cd436c8bf5"),
    (FragmentFD._write_ytdl_file, "fragments", "f987bc3c2f2f"),
    (FragmentFD._download_fragment, "fragments", "414fbe1bf411"),
    (FragmentFD._read_fragment, "fragments", "b503f518f8b0"),
    (FragmentFD._append_fragment, "fragments", "5f9405ab1aa3"),
    (FragmentFD._finish_frag_download, "fragments", "95eb28715fa7"),
    (FragmentFD.decrypter, "fragments", "d4ce3021eed7"),
    (FragmentFD.download_and_append_fragments, "fragments", "f362abd9d9a0"),
    (FragmentFD.download_and_append_fragments_multiple, "fragments", "d5b72fc24486"),
    (RetryManager.__iter__, "fragments", "149001a40ae3"),
    (FFmpegFD._call_downloader, "foreign, egress, parameters", "21c385e41baf"),
    (FFmpegPostProcessor._determine_executables, "parameters", "a2e552814ebc"),
)
#: Ours in place of theirs: each method must still replace one, and take what it took.
OURS: tuple[type, ...] = (
    downloader.Downloader,
    direct.QuietFD,
    direct.DirectFD,
    fragments.CrashSafeFragments,
    fragments.NativeHlsFD,
    fragments.DashFD,
)
#: Ours alone, on top of theirs.
NEW = frozenset({"__init__", "promised", "_answer", "_send", "keep", "hook_finished", "_announce_wait",
                 "_fragment_params", "_reconcile", "_vouched", "_part", "_record", "_fragments"})  # fmt: skip


def advice(modules: str) -> str:
    return (
        f"yt-dlp {yt_dlp.version.__version__} has changed it. Look at reelin/engine/child/: {modules}. When all tests "
        f"pass, put the new fingerprint here and add the version to YT_DLP_CHECKED in engine/programs.py."
    )


def fingerprint(function: Callable[..., Any]) -> str:
    """Of the source, whatever its comments and layout: the same under every Python."""
    lines = (line.strip() for line in inspect.getsource(function).splitlines())
    code = " ".join(line for line in lines if line and not line.startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("function", "modules", "known"), STANDS_ON, ids=[function.__qualname__ for function, _, _ in STANDS_ON]
)
def test_what_is_replaced_or_called_is_as_it_was(function: Callable[..., Any], modules: str, known: str) -> None:
    assert fingerprint(function) == known, advice(modules)


def _theirs(ours: type, name: str) -> Any:
    """The method of yt-dlp's that `ours` replaces, if any."""
    bases = [base for each in OURS if issubclass(each, ours) or issubclass(ours, each) for base in each.__mro__]
    foreign = [base for base in bases if base.__module__.startswith("yt_dlp.")]
    found = [base.__dict__[name] for base in foreign if name in base.__dict__]
    return next(iter(found), None)


def _overrides() -> list[tuple[type, str]]:
    return [
        (ours, name)
        for ours in OURS
        for name, value in vars(ours).items()
        if inspect.isfunction(value) and name not in NEW
    ]


@pytest.mark.parametrize(("ours", "name"), _overrides(), ids=[f"{ours.__name__}.{name}" for ours, name in _overrides()])
def test_every_override_replaces_a_method_and_takes_the_same_arguments(ours: type, name: str) -> None:
    theirs = _theirs(ours, name)
    module = ours.__module__.rpartition(".")[2]
    assert theirs is not None, f"{name} replaces nothing any more. {advice(module)}"
    replaced = [each for each in inspect.signature(theirs).parameters.values() if each.name != "self"]
    own = inspect.signature(getattr(ours, name)).parameters
    passed_on = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in own.values())
    taken = [name for name, each in own.items() if name != "self" and not _collects(each)]
    wanted = [each.name for each in replaced]
    assert taken == (wanted[: len(taken)] if passed_on else wanted), advice(module)


def _collects(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@pytest.mark.parametrize(
    "attribute",
    [
        (YoutubeDL({"quiet": True}, auto_init=False), "_progress_hooks", "downloader"),
        (YoutubeDL({"quiet": True}, auto_init=False), "_ies", "downloader"),
        (FFmpegPostProcessor, "_ffmpeg_location", "parameters"),
    ],
    ids=lambda attribute: attribute[1],
)
def test_attributes_that_are_reached_for_are_there(attribute: tuple[object, str, str]) -> None:
    holder, name, modules = attribute
    assert hasattr(holder, name), advice(modules)


def test_the_versions_that_were_checked_include_the_installed_and_the_pinned_one() -> None:
    installed = importlib.metadata.version("yt-dlp")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.search(r"^yt-dlp==(\S+)", lock, re.MULTILINE)
    assert pinned is not None
    for version in (installed, pinned[1]):
        assert version in YT_DLP_CHECKED, f"yt-dlp {version}: {advice('all that test_drift.py names')}"


def test_hls_still_loses_count_when_it_skips_which_is_why_nothing_is_skipped_before_it_has_counted() -> None:
    """When this fails, yt-dlp has mended it, and `download_and_append_fragments` in fragments.py may go."""
    source = inspect.getsource(HlsFD.real_download)
    skip, count = "if frag_index <= ctx['fragment_index']:\n", "media_sequence += 1"
    assert source.index(skip) < source.index(count), advice("fragments")
