"""What yt-dlp raises is raised here by yt-dlp itself, from an extractor that says what real sites say."""

from __future__ import annotations

import email.utils
import errno
import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.cookies import CookieLoadError
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    IncompleteRead,
    ProxyError,
    RequestError,
    TransportError,
)
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    RegexNotFoundError,
    UnavailableVideoError,
    UnsupportedError,
    UserNotLive,
)

from reelin.contracts.failures import FailureKind
from reelin.engine.child.failures import MAX_RETRY_AFTER_SECONDS, translate
from reelin.engine.child.wording import MAX_MESSAGE_LENGTH
from reelin.errors import MediaFailure

#: Messages as sites and yt-dlp word them; an X of a template is filled in.
SAID: tuple[tuple[str, str, str], ...] = (
    # rate limits
    ("rate_limited", "youtube", "Video unavailable. This content isn’t available, try again later. The current session "
     "has been rate-limited by YouTube for up to an hour. It is recommended to use `-t sleep` to add a delay between "
     "video requests to avoid exceeding the rate limit. For more information, refer to  "
     "https://github.com/yt-dlp/yt-dlp/wiki/Extractors#this-content-isnt-available-try-again-later"),
    ("rate_limited", "instagram", "The webpage request was redirected to the login page. You have exceeded the "
     "rate-limit for accessing posts anonymously"),
    ("rate_limited", "bilibili", "You have exceeded the rate limit. Try again later"),
    ("rate_limited", "bilibili", "Request is blocked by server (412), please wait and try later."),
    ("rate_limited", "damtomo", "You are rate-limited. Try again later."),
    ("rate_limited", "soundcloud", "You have reached the API rate limit, which is ~600 requests per 10 minutes. "
     "Use the --extractor-retries and --retry-sleep options to configure an appropriate retry count and wait time"),
    ("rate_limited", "mixcloud", "You have reached your play limit for this track"),
    # bot checks
    ("bot_check", "youtube", "Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies for the "
     "authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ#how-do-i-pass-cookies-to-yt-dlp  for how to "
     "manually pass cookies. Also see  https://github.com/yt-dlp/yt-dlp/wiki/Extractors#exporting-youtube-cookies  "
     "for tips on effectively exporting YouTube cookies"),
    ("bot_check", "youtube", "Video unavailable. YouTube is requiring a captcha challenge before playback"),
    ("bot_check", "youtube", "All player responses are invalid. Your IP is likely being blocked by Youtube"),
    ("bot_check", "generic", "Got HTTP Error 403 caused by Cloudflare anti-bot challenge; try again with  "
     '--extractor-args "generic:impersonate"'),
    ("bot_check", "vimeo", "This request has been blocked due to its TLS fingerprint. Install a required impersonation "
     "dependency if possible, or else if you are okay with compromising your security/cookies, try replacing "
     '"https:" with "http:" in the input URL'),
    ("bot_check", "tiktok", "Your IP address is blocked from accessing this post"),
    ("bot_check", "tiktok", "Unable to solve JS challenge"),
    ("bot_check", "tiktok", "Fresh cookies (not necessarily logged in) are needed"),
    ("bot_check", "reddit", "Your IP address is unable to access the Reddit API"),
    ("bot_check", "bilibili", "Request is rejected by server (352)"),
    ("bot_check", "peekvids", "You are suspected as a bot. Wait, or pass the captcha on the site and provide cookies."),
    ("bot_check", "yandexmusic", "YandexMusic has considered yt-dlp requests automated and asks you to solve a "
     "CAPTCHA. You can either wait for some time until unblocked and optionally use --sleep-interval in future or "
     "alternatively you can go to https://music.yandex.ru/ solve CAPTCHA, then export cookies and pass cookie file to "
     "yt-dlp with --cookies"),
    ("bot_check", "udemy", "Udemy asks you to solve a CAPTCHA. Login with browser, solve CAPTCHA, then export cookies "
     "and pass cookie file to yt-dlp with --cookies."),
    # members only
    ("members_only", "youtube", "Join this channel to get access to members-only content like this video, and other "
     "exclusive perks."),
    ("members_only", "youtube", "This video is available to this channel's members on level: Supporter (or any higher "
     "level). Join this channel to get access to members-only content and other exclusive perks."),
    ("members_only", "youtube", "This video is only available to Music Premium members"),
    ("members_only", "youtube", "This video requires payment to watch."),
    ("members_only", "bilibili", "This video is for premium members only"),
    ("members_only", "bilibili", "You need to purchase the course to download this episode"),
    ("members_only", "bilibili", "This is a supporter-only video: 大会员专享"),
    ("members_only", "boosty", "This post requires a subscription"),
    ("members_only", "patreon", "You do not have access to this post"),
    ("members_only", "afreecatv", "This livestream is for subscribers only"),
    ("members_only", "niconico", "Channel members only"),
    ("members_only", "niconico", "PPV video, payment information required"),
    ("members_only", "twitch", "You must be logged into an account that has access to this subscriber-only content"),
    ("members_only", "vidio", "This video is only available for registered users with the appropriate subscription"),
    ("members_only", "roosterteeth", "Camp Camp is only available for FIRST members"),
    ("members_only", "udemy", "Course 5 is not free. You have to pay for it before you can download. Use this URL to "
     "confirm purchase: https://www.udemy.com/x"),
    ("members_only", "adobepass", "This video is only available for users of participating TV providers. Use --ap-mso "
     "to specify Adobe Pass Multiple-system operator Identifier and --ap-username and --ap-password or --netrc to "
     "provide account credentials."),
    ("members_only", "zaiko", "Your account does not have tickets to this event"),
    # age
    ("age_restricted", "youtube", "Sign in to confirm your age. This video may be inappropriate for some users. Use "
     "--cookies-from-browser or --cookies for the authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ"
     "#how-do-i-pass-cookies-to-yt-dlp  for how to manually pass cookies"),
    ("age_restricted", "twitter", "NSFW tweet requires authentication"),
    ("age_restricted", "niconico", "Login is required to access age-restricted content"),
    ("age_restricted", "niconico", "Sensitive content, login required"),
    ("age_restricted", "pandatv", "Adult verification is required for this stream"),
    ("age_restricted", "afreecatv", "Only users older than 19 are able to watch this video"),
    ("age_restricted", "ard", "This video is only available for age verified users or after 22:00"),
    # geography
    ("geo_blocked", "youtube", "Video unavailable. This video contains content from SME, who has blocked it in your "
     "country on copyright grounds"),
    ("geo_blocked", "bilibili", "This video may be deleted or geo-restricted. You might want to try a VPN or a proxy "
     "server (with --proxy)"),
    ("geo_blocked", "mixcloud", "Track unavailable in your country due to licensing restrictions"),
    ("geo_blocked", "youku", "Youku said: Sorry, this video is available in China only"),
    ("geo_blocked", "polsatgo", "This video is either unavailable in your region or is DRM protected"),
    ("geo_blocked", "kuwo", "This song is blocked in this region"),
    # DRM
    ("drm", "common", "This video is DRM protected"),
    ("drm", "unsupported", "The requested site is known to use DRM protection. It will NOT be supported.\nPlease DO "
     "NOT open an issue, unless you have evidence that the video is not DRM protected"),
    ("drm", "f4m", "Unsupported DRM"),
    # not yet
    ("not_live_yet", "youtube", "This live event will begin in 2 days."),
    ("not_live_yet", "youtube", "Premieres in 3 hours"),
    ("not_live_yet", "twitch", "The channel is not currently live"),
    ("not_live_yet", "twitter", "This live broadcast has not yet started"),
    ("not_live_yet", "twitter", "Twitter Space not started yet"),
    ("not_live_yet", "vimeo", "This live event is scheduled for 2026-05-01"),
    ("not_live_yet", "weverse", "Livestream has not yet started"),
    ("not_live_yet", "adn", "This video is not available yet. Release date: 2026-05-01"),
    ("not_live_yet", "goodgame", "User is offline"),
    ("not_live_yet", "picarto", "Stream is offline"),
    ("not_live_yet", "reddit", "This video is processing"),
    ("not_live_yet", "bilibili", "Streamer is not live"),
    # private
    ("private", "youtube", "Private video. Sign in if you've been granted access to this video. Use "
     "--cookies-from-browser or --cookies for the authentication."),
    ("private", "tiktok", "This user's account is private. Log into an account that has access"),
    ("private", "tiktok", "You do not have permission to view this post. Log into an account that has access"),
    ("private", "twitter", "You are not authorized to view this protected tweet"),
    ("private", "reddit", "Private subreddit; an account that has been approved is required"),
    ("private", "niconico", "Video unavailable, set to private"),
    ("private", "vimeo", "Because of its privacy settings, this video cannot be played here."),
    ("private", "vimeo", "This album is protected by a password, use the --video-password option"),
    ("private", "instagram", "This content is only available for registered users who follow this account"),
    ("private", "youku", "Youku said: Sorry, this video is private"),
    # login
    ("login_required", "common", "This video is only available for registered users"),
    ("login_required", "instagram", "You need to log in to access this content"),
    ("login_required", "instagram", "Instagram sent an empty media response. Check if this post is accessible in your "
     "browser without being logged-in. If it is not, then use --cookies-from-browser or --cookies for the "
     "authentication."),
    ("login_required", "facebook", 'The video is not available, Facebook said: "You must log in to continue."'),
    ("login_required", "reddit", "Account authentication is required"),
    ("login_required", "niconico", "Invalid session, re-login required"),
    ("login_required", "nebula", "Login failed: Invalid username or password"),
    ("login_required", "zattoo", "An account is needed to access this media"),
    ("login_required", "youtube", "Login details are needed to download this content."),
    # gone
    ("not_found", "youtube", "Video unavailable"),
    ("not_found", "youtube", "Video unavailable. This video has been removed by the uploader"),
    ("not_found", "youtube", "This video is no longer available because the YouTube account associated with this video "
     "has been terminated."),
    ("not_found", "youtube", "This live event has ended."),
    ("not_found", "twitch", "Video 1 does not exist"),
    ("not_found", "twitch", "This clip is no longer available"),
    ("not_found", "twitter", "Video #1 is unavailable"),
    ("not_found", "tiktok", "Video not available, status code 10204"),
    ("not_found", "niconico", "Removed by rights-holder request"),
    ("not_found", "bilibili", "Playlist is no longer available"),
    ("not_found", "likee", "Video was deleted"),
    ("not_found", "afreecatv", "The VOD does not exist"),
    # no video there
    ("unsupported_url", "twitter", "No video could be found in this tweet"),
    ("unsupported_url", "instagram", "There is no video in this post"),
    ("unsupported_url", "reddit", "No media found"),
    ("unsupported_url", "yahoo", "This article does not contain a video"),
    ("unsupported_url", "vimeo", "Cannot download embed-only video without embedding URL. Please call yt-dlp with the "
     "URL of the page that embeds this video."),
    ("unsupported_url", "unsupported", "This website is not supported and will not be supported.\nDO NOT open issues"),
    # formats and addresses
    ("format_unavailable", "core", "Requested format is not available. Use --list-formats for a list of available "
     "formats"),
    ("invalid_url", "commonmistakes", "You've asked yt-dlp to download a blob URL. A blob URL exists only locally in "
     "your browser. It is not possible for yt-dlp to access it."),
    ("invalid_url", "youtube", "Incomplete YouTube ID abc. URL https://www.youtube.com/watch?v=abc looks truncated."),
    # the site is ill, or has changed, or says no
    ("site_error", "niconico", "Service temporarily unavailable"),
    ("site_error", "damtomo", "There is an error on server-side. Try again later."),
    ("site_changed", "tiktok", "Unable to extract secondary user ID"),
    ("site_changed", "facebook", "Cannot parse data"),
    ("site_changed", "core", "No video formats found!"),
    ("forbidden", "bunnycdn", "This video is inaccessible. Setting a Referer header might be required to access the "
     "video"),
    ("forbidden", "youtube", "Video unavailable. Playback on other websites has been disabled by the video owner"),
    ("unsafe_file", "core", "The extracted extension ('exe') is unusual and will be skipped for safety reasons. If you "
     "believe this is an error, please report this issue on  https://github.com/yt-dlp/yt-dlp/issues?q= , filling out "
     "the appropriate issue template. Confirm you are on the latest version using  yt-dlp -U"),
)  # fmt: skip


def raised_by_ytdlp(raising: Callable[[], Any]) -> BaseException:
    """What comes out of a real YoutubeDL when an extractor does `raising`."""

    class Saying(InfoExtractor):  # type: ignore[misc]
        _VALID_URL = r"saying:(?P<id>.+)"
        _WORKING = True
        IE_NAME = "saying"

        def _real_extract(self, url: str) -> Any:
            return raising()

    with YoutubeDL({"quiet": True, "no_warnings": True, "logger": Silent()}, auto_init=False) as downloader:
        downloader.add_info_extractor(Saying())
        with pytest.raises(Exception) as caught:
            downloader.extract_info("saying:dQw4w9WgXcQ", download=False)
    return caught.value


class Silent:
    def debug(self, message: str) -> None: ...

    warning = error = info = debug


def failing(error: BaseException, *, extracted: bool = False, messages: tuple[str, ...] = ()) -> MediaFailure:
    def raising() -> None:
        raise error

    return translate(raised_by_ytdlp(raising), extracted=extracted, messages=messages)


def saying(text: str) -> MediaFailure:
    return failing(ExtractorError(text, expected=True))


def http_error(status: int, reason: str = "Refused", headers: dict[str, str] | None = None) -> HTTPError:
    return HTTPError(Response(io.BytesIO(), "https://example.org/v", headers or {}, status, reason))


@pytest.mark.parametrize(("kind", "site", "text"), SAID, ids=[f"{site}: {text[:40]}" for _, site, text in SAID])
def test_what_a_site_says_decides_the_kind(kind: str, site: str, text: str) -> None:
    assert saying(text).kind == kind


@pytest.mark.parametrize(("kind", "site", "text"), SAID, ids=[f"{site}: {text[:40]}" for _, site, text in SAID])
def test_no_message_for_a_client_speaks_of_the_command_line(kind: str, site: str, text: str) -> None:
    message = saying(text).message
    assert message
    assert not re.search(r"(?<!\w)--\w|yt-dlp -U|report this issue|ERROR:|caused by <|\[saying\]|github\.com", message)


def test_every_kind_that_only_a_text_can_tell_is_covered_by_a_real_message() -> None:
    by_text = {"rate_limited", "bot_check", "members_only", "age_restricted", "geo_blocked", "drm", "not_live_yet",
               "private", "login_required", "not_found", "unsupported_url", "format_unavailable", "invalid_url",
               "site_error", "site_changed", "forbidden", "unsafe_file"}  # fmt: skip
    assert {kind for kind, _, _ in SAID} == by_text
    assert len(SAID) >= 60


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (GeoRestrictedError("This video is not available from your location", countries=["DE"]), "geo_blocked"),
        (UnsupportedError("https://example.org/private-video/drm"), "unsupported_url"),
        (UserNotLive(), "not_live_yet"),
        (RegexNotFoundError("Unable to extract player"), "site_changed"),
        (ExtractorError("Something odd"), "site_changed"),
        (KeyError("videoDetails"), "site_changed"),
        (OSError(errno.EMFILE, "Too many open files"), "resources_exhausted"),
        (OSError(errno.ENFILE, "Too many open files in system"), "resources_exhausted"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "resources_exhausted"),
        (DownloadError("unable to open for writing: [Errno 24] Too many open files: 'a.part'"), "resources_exhausted"),
        (PostProcessingError("audio conversion failed: Cannot allocate memory"), "resources_exhausted"),
        (DownloadError("HTTP Error 503: Too many open files"), "resources_exhausted"),
        (DownloadError("Tunnel connection failed: 503 Too many open files"), "resources_exhausted"),
        (TypeError("'NoneType' object is not subscriptable"), "site_changed"),
        (AttributeError("'str' object has no attribute 'get'"), "site_changed"),
        (TransportError("timed out"), "network"),
        (IncompleteRead(partial=10, expected=20), "network"),
        (CertificateVerifyError("certificate verify failed"), "network"),
        (ProxyError("Unable to connect to proxy"), "network"),
        (TransportError(cause=socket.gaierror(-2, "Name or service not known")), "dns"),
        (TransportError("Failed to resolve 'no.example' ([Errno -3] Temporary failure in name resolution)"), "dns"),
        (TransportError("<urlopen error [Errno 8] nodename nor servname provided, or not known>"), "dns"),
        (OSError(errno.ENOSPC, "No space left on device", "/srv/reelin/scratch/j/media.mp4.part"), "disk_full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
        (OSError(errno.EROFS, "Read-only file system", "/srv/reelin/scratch/j/media.mp4"), "storage_unavailable"),
        (OSError(errno.EIO, "Input/output error"), "storage_unavailable"),
        (OSError(errno.ESTALE, "Stale file handle"), "storage_unavailable"),
        (CookieLoadError("failed to load cookies"), "bad_options"),
        (ContentTooShortError(10, 20), "network"),
        (PostProcessingError("audio conversion failed: Conversion failed!"), "processing"),
        (PostProcessingError("av_interleaved_write_frame(): No space left on device"), "disk_full"),
        (RequestError("file:// URLs are disabled by default in yt-dlp for security reasons."), "invalid_url"),
        (ProxyError("Tunnel connection failed: 403 Blocked address"), "blocked_address"),
        (http_error(403, "Blocked address"), "blocked_address"),
        (http_error(502, "Name resolution failed"), "dns"),
        (http_error(502, "Connection failed"), "network"),
        (http_error(502, "Bad Gateway"), "site_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:60],
)  # fmt: skip
def test_an_errors_type_decides_the_kind(error: BaseException, kind: str) -> None:
    assert failing(error).kind == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "site_changed"), (401, "login_required"), (402, "members_only"), (403, "forbidden"), (404, "not_found"),
        (408, "site_error"), (410, "not_found"), (416, "resume_conflict"), (425, "site_error"), (429, "rate_limited"),
        (451, "geo_blocked"), (500, "site_error"), (503, "site_error"), (522, "site_error"),
    ],
)  # fmt: skip
def test_an_http_status_decides_the_kind_also_where_only_its_text_is_left(status: int, kind: str) -> None:
    after_retries = DownloadError(
        f"ERROR: \r[download] Got error: HTTP Error {status}: Whatever. Giving up after 3 retries"
    )
    assert failing(http_error(status)).kind == kind
    assert translate(after_retries, extracted=False, messages=()).kind == kind


def test_a_refused_media_address_has_expired_once_extraction_has_succeeded() -> None:
    lost = DownloadError("ERROR: unable to download video data: HTTP Error 403: Forbidden", (None, None, None))
    assert failing(http_error(403), extracted=True).kind == "expired_url"
    assert translate(lost, extracted=True, messages=()).kind == "expired_url"
    assert translate(lost, extracted=False, messages=()).kind == "forbidden"


@pytest.mark.parametrize(
    ("line", "kind"),
    [("Server returned 403 Forbidden (access denied)", "expired_url"), ("Server returned 404 Not Found", "not_found"),
     ("Server returned 5XX Server Error reply", "site_error"), ("[tls @ 0x1] Connection reset by peer", "network")],
)  # fmt: skip
def test_ffmpegs_own_words_are_understood(line: str, kind: str) -> None:
    assert translate(DownloadError(f"ERROR: {line}"), extracted=True, messages=()).kind == kind


def test_a_page_that_asks_for_an_account_with_a_403_needs_a_login() -> None:
    def raising() -> None:
        try:
            raise http_error(403)
        except HTTPError as error:
            raise ExtractorError("You need to log in to access this content", expected=True) from error

    assert translate(raised_by_ytdlp(raising), extracted=False, messages=()).kind == "login_required"


def test_a_cloudflare_challenge_is_a_bot_check() -> None:
    assert failing(http_error(403, headers={"cf-mitigated": "challenge"})).kind == "bot_check"


def test_an_addresss_words_are_not_a_sites_words() -> None:
    error = ExtractorError("Unable to download webpage: HTTP Error 404: Not Found (caused by <HTTPError 404>) "
                           "https://example.org/private-video/log-in/captcha", expected=True)  # fmt: skip
    assert failing(error).kind == "not_found"


@pytest.mark.parametrize("value", ["120", "120.5"])
def test_retry_after_in_seconds_is_passed_on(value: str) -> None:
    assert failing(http_error(429, headers={"Retry-After": value})).retry_after_seconds == float(value)


def test_retry_after_as_a_date_becomes_seconds_from_now() -> None:
    date = email.utils.formatdate(time.time() + 300, usegmt=True)
    seconds = failing(http_error(503, headers={"Retry-After": date})).retry_after_seconds
    assert seconds is not None
    assert 295 <= seconds <= 300


@pytest.mark.parametrize(
    ("value", "expected"),
    [("soon", None), ("-5", None), ("", None), ("Mon, 01 Jan 1990 00:00:00 GMT", 0.0),
     ("999999999", MAX_RETRY_AFTER_SECONDS)],
)  # fmt: skip
def test_a_strange_retry_after_does_no_harm(value: str, expected: float | None) -> None:
    assert failing(http_error(429, headers={"Retry-After": value})).retry_after_seconds == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("Premieres in 3 hours", 10_800.0), ("This live event will begin in 2 days.", 172_800.0),
     ("This live event will begin in a few moments.", None),
     ("The current session has been rate-limited by YouTube for up to an hour", 3600.0)],
)  # fmt: skip
def test_a_wait_that_is_announced_in_words_is_passed_on(text: str, seconds: float | None) -> None:
    assert saying(text).retry_after_seconds == seconds


def test_a_media_failure_comes_back_as_it_is_even_when_ytdlp_wrapped_it() -> None:
    failure = MediaFailure(FailureKind.TOO_LARGE, "Larger than options.max_bytes.")

    def raising() -> None:
        raise ExtractorError("Wrapped", cause=failure)

    assert translate(failure, extracted=True, messages=()) is failure
    assert translate(raised_by_ytdlp(raising), extracted=True, messages=()) is failure


def test_a_full_disk_is_seen_through_what_ytdlp_makes_of_it() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert translate(UnavailableVideoError(full), extracted=True, messages=()).kind == "disk_full"
    assert translate(DownloadError("ERROR: unable to write data: [Errno 28] No space left on device"), extracted=True,
                     messages=()).kind == "disk_full"  # fmt: skip


def test_the_log_tells_a_full_disk_from_a_failed_conversion() -> None:
    error = DownloadError("ERROR: Postprocessing: Conversion failed!")
    assert translate(error, extracted=True, messages=()).kind == "processing"
    assert translate(error, extracted=True, messages=["[out] No space left on device"]).kind == "disk_full"


def test_an_error_that_says_nothing_takes_its_kind_from_the_log() -> None:
    failure = translate(DownloadError(""), extracted=True, messages=["fragment 3: timed out"])
    assert (failure.kind, failure.message) == ("network", "The task ended without a reason (DownloadError).")


def test_an_unknown_error_is_internal_and_keeps_its_text_from_the_client() -> None:
    failure = translate(ValueError("secret of /srv/reelin"), extracted=True, messages=["a log line"])
    assert failure.kind == "internal"
    assert failure.message == "An unexpected error ended the task (ValueError)."
    assert failure.detail is not None
    assert "secret of /srv/reelin" in failure.detail
    assert "a log line" in failure.detail


def test_what_a_site_said_stays_readable_where_nobody_knows_its_meaning() -> None:
    failure = saying("Tencent said: 1300091 错误")
    assert (failure.kind, failure.message) == ("internal", "Tencent said: 1300091 错误")


def test_the_detail_has_the_traceback_of_the_first_cause() -> None:
    detail = failing(KeyError("videoDetails")).detail
    assert detail is not None
    assert "KeyError: 'videoDetails'" in detail
    assert "_real_extract" in detail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Unable to download webpage: HTTP Error 500: Oops (caused by <HTTPError 500: Oops>)",
         "Unable to download webpage: HTTP Error 500: Oops"),
        ("Unable to extract title; please report this issue on  https://github.com/yt-dlp/yt-dlp/issues?q= , filling "
         "out the appropriate issue template. Confirm you are on the latest version using  yt-dlp -U",
         "Unable to extract title"),
        ("\x1b[0;31mERROR:\x1b[0m [Generic] xyz: Unsupported page", "Unsupported page"),
        ("Private video. Sign in if you've been granted access. Use --cookies-from-browser or --cookies for the "
         "authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ#x  for how to manually pass cookies",
         "Private video. Sign in if you've been granted access"),
        ("Bell\x07 and\u202e turned\nround", "Bell and turned round"),
        ("unable to open for writing: [Errno 13] Permission denied: '/srv/reelin/my data/scratch/j/media.mp4.part'",
         "unable to open for writing: [Errno 13] Permission denied: 'media.mp4.part'"),
        ("file:/srv/reelin/scratch/j/media.mp4: Invalid data found", "media.mp4: Invalid data found"),
        ("Unsupported URL: https://example.org/a/b/c?d=1", "Unsupported URL: https://example.org/a/b/c?d=1"),
    ],
)  # fmt: skip
def test_a_clients_message_has_no_framing_no_escapes_and_no_local_paths(text: str, message: str) -> None:
    assert translate(DownloadError(text), extracted=False, messages=()).message == message


def test_a_message_ends_at_500_characters() -> None:
    message = saying("Tencent said: " + "很" * 2000).message
    assert len(message) <= MAX_MESSAGE_LENGTH
    assert message.endswith("…")


def test_megabytes_of_error_text_are_judged_in_no_time() -> None:
    begun = time.thread_time()
    for text in (
        "no video " * 100_000,
        "/a" * 500_000,
        "use --cookies (" * 60_000,
        "in a " * 200_000,
        "(caused by " * 90_000,
    ):
        saying(text)
    assert time.thread_time() - begun < 2, "seconds of processor time: what takes longer grows with the text's square"


class Refusing(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, dict[str, str]]]] = {
        "/limited": (429, {"Retry-After": "7"}),
        "/gone": (410, {}),
        "/down": (503, {}),
        "/forbidden": (403, {}),
    }

    def do_GET(self) -> None:
        status, headers = self.answers.get(self.path, (404, {}))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _close(error: BaseException) -> None:
    """The refusal's connection is still open; left to the garbage collector it would warn in some other test."""
    for linked in (error, *getattr(error, "exc_info", ()), error.__cause__, error.__context__):
        if isinstance(linked, HTTPError):
            linked.close()
        elif isinstance(linked, BaseException) and linked is not error:
            _close(linked)


@pytest.mark.parametrize(
    ("path", "kind", "wait"),
    [("/limited", "rate_limited", 7.0), ("/gone", "not_found", None), ("/down", "site_error", None),
     ("/forbidden", "forbidden", None)],
)  # fmt: skip
def test_a_real_servers_refusal_arrives_with_kind_and_wait(site: str, path: str, kind: str, wait: float | None) -> None:
    params = {"quiet": True, "logger": Silent(), "extractor_retries": 0, "allowed_extractors": ["generic"], "proxy": ""}
    with YoutubeDL(params) as downloader, pytest.raises(DownloadError) as caught:
        downloader.extract_info(site + path, download=False)
    failure = translate(caught.value, extracted=False, messages=())
    _close(caught.value)
    assert (failure.kind, failure.retry_after_seconds) == (kind, wait)


@pytest.mark.parametrize(
    ("address", "kind"),
    [("gopher://example.org/1", "invalid_url"), ("http://127.0.0.1:1/v", "network"), ("http://no.invalid/v", "dns")],
)
def test_a_request_that_never_reaches_a_server_is_told_apart(
    address: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if kind == "dns":
        monkeypatch.setattr(socket, "getaddrinfo", unknown)  # no test asks a real name server
    params = {"quiet": True, "logger": Silent(), "proxy": ""}
    with YoutubeDL(params, auto_init=False) as downloader, pytest.raises(RequestError) as caught:
        downloader.urlopen(address)
    assert translate(caught.value, extracted=False, messages=()).kind == kind
