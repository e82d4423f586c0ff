"""Why a job failed, and what a person can do about it."""

from __future__ import annotations

from enum import StrEnum

from reelin.contracts.model import Message


class FailureKind(StrEnum):
    """One kind for every way in which a site, the network, ffmpeg or the disk can fail."""

    RATE_LIMITED = "rate_limited"  #: 429, or text that says so.
    BOT_CHECK = "bot_check"  #: A captcha, or "confirm you're not a bot".
    SITE_ERROR = "site_error"  #: 5xx, 408, 425.
    NETWORK = "network"  #: Timeout, reset, short read, stall.
    DNS = "dns"  #: The host's name cannot be looked up.
    EXPIRED_URL = "expired_url"  #: 403 on a media URL that extraction gave.
    RESUME_CONFLICT = "resume_conflict"  #: What was fetched does not fit what the site serves or announces.
    DISK_FULL = "disk_full"  #: No space beside what other downloads claim, or over quota.
    RESOURCES_EXHAUSTED = "resources_exhausted"  #: No more files, processes or memory on this machine.
    STORAGE_UNAVAILABLE = "storage_unavailable"  #: The media folder is not there, only to be read, or does not answer.
    NOT_LIVE_YET = "not_live_yet"  #: A premiere or a stream that has not begun.
    PROCESSING = "processing"  #: ffmpeg failed, or the file that came out cannot be opened.
    NOT_FOUND = "not_found"  #: 404, 410, removed.
    FORBIDDEN = "forbidden"  #: 403 on the page or on a file given directly.
    LOGIN_REQUIRED = "login_required"  #: 401, or the site asks for an account.
    PRIVATE = "private"  #: Private video.
    MEMBERS_ONLY = "members_only"  #: For paying members.
    AGE_RESTRICTED = "age_restricted"  #: Needs a proof of age.
    GEO_BLOCKED = "geo_blocked"  #: 451, or not available in this country.
    DRM = "drm"  #: Encrypted against copying.
    FORMAT_UNAVAILABLE = "format_unavailable"  #: The asked-for format does not exist.
    TOO_LARGE = "too_large"  #: Over `max_bytes`, or over what any one file may have.
    UNSUPPORTED_URL = "unsupported_url"  #: There is no video that Reelin can find.
    INVALID_URL = "invalid_url"  #: Not a URL that can be fetched.
    BLOCKED_ADDRESS = "blocked_address"  #: The host is in a private or reserved range.
    UNSAFE_FILE = "unsafe_file"  #: The site offered a kind of file that Reelin does not store.
    SITE_CHANGED = "site_changed"  #: The page is not what the extractor expects.
    BAD_OPTIONS = "bad_options"  #: The options contradict each other or the video.
    INTERNAL = "internal"  #: A fault of Reelin's own.


class Failure(Message):
    """The latest failure of a job, also while it waits for its next attempt."""

    kind: FailureKind
    message: str
    remedy: str
    retryable: bool
    attempts: int = 1


REMEDIES: dict[FailureKind, str] = {
    FailureKind.RATE_LIMITED: "Nothing to do: Reelin waits as long as the site asks and tries again. "
    "A smaller rate, or cookies of a logged-in account, help with sites that limit guests.",
    FailureKind.BOT_CHECK: "Export cookies from a browser in which the site works, store them as a cookie jar, "
    "and submit again with options.cookies.",
    FailureKind.SITE_ERROR: "The site has trouble. Retry the job later.",
    FailureKind.NETWORK: "Check the connection between Reelin and the site, then retry the job; "
    "what was fetched is kept.",
    FailureKind.DNS: "Check the host's spelling and this machine's name server, then retry the job.",
    FailureKind.EXPIRED_URL: "Retry the job: it asks the site for fresh media addresses.",
    FailureKind.RESUME_CONFLICT: "Retry the job: it starts this file from the beginning.",
    FailureKind.DISK_FULL: "Free some space on the disk of the media folder; the job goes on from where it stands.",
    FailureKind.RESOURCES_EXHAUSTED: "Nothing to do if it passes: the job goes on from where it stands. Else raise the "
    "limit of open files (`reelin doctor` says it), give Reelin more memory, or lower REELIN_MAX_DOWNLOADS.",
    FailureKind.STORAGE_UNAVAILABLE: "Mount the disk of the media folder, or give Reelin the right to write there; the "
    "job goes on by itself from where it stands. To begin with another folder on purpose, run `reelin adopt`.",
    FailureKind.NOT_LIVE_YET: "The video has not begun. Retry the job after its announced time.",
    FailureKind.PROCESSING: "Try another container or preset; `reelin doctor` shows whether ffmpeg works.",
    FailureKind.NOT_FOUND: "Check the URL in a browser; the video may have been removed.",
    FailureKind.FORBIDDEN: "Check that the URL opens in a browser without logging in; if it needs an account, "
    "submit with options.cookies.",
    FailureKind.LOGIN_REQUIRED: "Log in with a browser, export its cookies as a cookie jar, "
    "and submit again with options.cookies.",
    FailureKind.PRIVATE: "Ask the owner for access, then submit again with options.cookies of that account.",
    FailureKind.MEMBERS_ONLY: "Submit again with options.cookies of an account that is a member.",
    FailureKind.AGE_RESTRICTED: "Submit again with options.cookies of an account that has proved its age.",
    FailureKind.GEO_BLOCKED: "The site serves this video in other countries only; run Reelin where it is available.",
    FailureKind.DRM: "Reelin does not break copy protection. Look for the video on another site.",
    FailureKind.FORMAT_UNAVAILABLE: "Submit again with preset=best, or look at the formats with `reelin info URL`.",
    FailureKind.TOO_LARGE: "Raise options.max_bytes or choose a smaller preset.",
    FailureKind.UNSUPPORTED_URL: "Give the address of the video's own page, or of the media file.",
    FailureKind.INVALID_URL: "Give a complete http:// or https:// address.",
    FailureKind.BLOCKED_ADDRESS: "Reelin reaches public addresses only. "
    "To allow this range, start it with REELIN_EGRESS_ALLOW set to its CIDR.",
    FailureKind.UNSAFE_FILE: "Reelin stores video, audio, subtitles and pictures only.",
    FailureKind.SITE_CHANGED: "The site has changed. Update Reelin to a newer yt-dlp, then retry the job.",
    FailureKind.BAD_OPTIONS: "Change the options that the message names, then submit again.",
    FailureKind.INTERNAL: "Retry the job. If it fails again, Reelin's log has the details under this job's id.",
}
