"""What sites, yt-dlp and ffmpeg say when something fails, and which kind of failure they mean by it.

Login, private, members-only, DRM and the like are told apart by their text alone. The order is the rule: the first
phrase that occurs decides. A new message of a site belongs into the table, and into the test that lists real ones.
"""

from __future__ import annotations

import re

from reelin.contracts.failures import FailureKind

Phrases = tuple[tuple[FailureKind, re.Pattern[str]], ...]


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


#: What Reelin's own proxy says, in the status line with which it refuses: asked first, over the whole text.
GUARD: Phrases = (
    (
        FailureKind.BLOCKED_ADDRESS,
        _any(r"blocked[_ -]address", r"tunnel connection failed: 403|connect tunnel failed, response 403"),
    ),
    (FailureKind.DNS, _any(r"(HTTP Error|tunnel connection failed:) 50\d:? (name resolution|host not found|dns)")),
    (FailureKind.NETWORK, _any(r"HTTP Error 50\d:? connection (failed|timed out)")),
    (FailureKind.RESOURCES_EXHAUSTED, _any(r"(HTTP Error|tunnel connection failed:) 50\d:? too many open files")),
)

#: Clear words: they decide even where an HTTP status says something else (a 403 page that asks for an account).
CLEAR: Phrases = (
    (
        FailureKind.DISK_FULL,
        _any(
            r"no space left on device",
            r"disk quota exceeded",
            r"\bENOSPC\b",
            r"\bEDQUOT\b",
            r"not enough (disk )?space",
        ),
    ),
    (FailureKind.TOO_LARGE, _any(r"\bfile too large\b", r"\bEFBIG\b")),
    (
        FailureKind.RESOURCES_EXHAUSTED,
        _any(
            r"\btoo many open files\b",
            r"\bcannot allocate memory\b",
            r"\bunable to open database file\b",
            r"\b(EMFILE|ENFILE|ENOMEM)\b",
        ),
    ),
    (FailureKind.UNSAFE_FILE, _any(r"is unusual and will be skipped for safety", r"unsafe file ?extension")),
    (
        FailureKind.FORMAT_UNAVAILABLE,
        _any(r"requested formats? (is|are) not available", r"this format cannot be partially downloaded"),
    ),
    (FailureKind.BAD_OPTIONS, _any(r"invalid f(ormat|ilter) specification", r"does not look like a netscape format")),
    (
        # Before DRM and all others: "either unavailable in your region or DRM protected" is for the region first.
        FailureKind.GEO_BLOCKED,
        _any(r"unavailable in your (region|country)"),
    ),
    (FailureKind.DRM, _any(r"\bDRM\b", r"digital rights", r"\b(widevine|fairplay|playready)\b", r"copy[- ]protected")),
    (
        FailureKind.RATE_LIMITED,
        _any(
            r"rate[- ]?limit",
            r"too many requests",
            r"exceeded the (number of|maximum|limit)",
            r"blocked by server \(4\d\d\)",
            r"content isn't available, try again later",
            r"you (have|'ve) (reached|hit) (the|your) (api|play|download|request) ",
            r"(sending|making) (too many )?requests too (fast|quickly|often)",
            r"please (slow down|wait a few minutes)",
        ),
    ),
    (
        FailureKind.BOT_CHECK,
        _any(
            r"not a (ro)?bot\b",
            r"captcha",
            r"cloudflare",
            r"suspected as a bot",
            r"anti[- ]?bot",
            r"considered .* requests automated",
            r"tls fingerprint",
            r"js challenge",
            r"challenge data",
            r"\bip( address)? is (likely )?(being )?(blocked|unable)",
            r"rejected by server \(352\)",
            r"requires browser impersonation",
            r"generic:impersonate",
            r"cookies \(not necessarily logged in\) are needed",
            r"unusual (traffic|activity)",
        ),
    ),
    (
        FailureKind.MEMBERS_ONLY,
        _any(
            r"members?[- ]only",
            r"\bfor (premium |channel )?members\b",
            r"(available|open|accessible|restricted) to [^.]*\bmembers?\b",
            r"join this channel",
            r"this channel's members",
            r"music premium",
            r"((?-i:FIRST)|premium|VIP|paid|gold|pro) (members?|users?|accounts?|supporters?|subscribers?)\b",
            r"premium (content|videos?)\b",
            r"premium[- ](only|subscription)",
            r"\bsubscribers?[- ]only\b",
            r"(for|to) (\w+ )?subscribers\b",
            r"supporters?[- ]only",
            r"(requires?|needs?|with) (an? |the )?([\w ]+ )?(subscription|purchase|payment|membership|pledge)",
            r"subscription (is )?(needed|required)",
            r"subscribe to (download|watch|view)",
            r"(coin|ticket) purchase|\bPPV\b",
            r"an account that has (a subscription|access) ",
            r"(need|have) to (pay|purchase|buy|subscribe)",
            r"(rent|purchase|buy) (this|the|it)",
            r"available with purchase",
            r"\bpay[- ]?(per[- ]view|wall)",
            r"not subscribed",
            r"does not have (access|tickets)",
            r"do not have access to this (class|post|scene|content|lecture|course)",
            r"participating tv provider",
            r"cable service provider",
            r"(channel|premium) members?\b.* only",
            r"pledge",
            r"lecture contents locked",
            r"\bpaid (post|content|event|live)",
        ),
    ),
    (
        FailureKind.AGE_RESTRICTED,
        _any(
            r"confirm your age",
            r"age[- ]?(restrict|verif|limit|gate|check|confirm)",
            r"\b(adult|identity) verification",
            r"inappropriate for some users",
            r"users older than",
            r"(over|at least|above) (1[5-9]|2[01])( years)?\b",
            r"\bNSF[WL]\b",
            r"\bR-?18\b",
            r"sensitive content",
            r"only available after 2\d:\d\d",
        ),
    ),
    (
        FailureKind.GEO_BLOCKED,
        _any(
            r"geo[- ]?(restrict|block|graphic|fenc|lock|limit)",
            r"(in|from|for) your (country|region|location|area|territory)",
            r"your (country|region|location|area) is not",
            r"(outside|outwith) (of )?(the )?(US|USA|UK|EU|Europe|Japan|China|Canada|Germany|France|Korea|Taiwan)\b",
            r"in this (region|country)",
            r"(blocked|restricted|available) [^.]*\b(country|countries|region)\b",
            r"(only )?(available|licensed)( to users)? in (Mainland )?[A-Z]\w+ only",
            r"only available in (?-i:[A-Z])",
            r"only licensed to users in",
            r"try using (a )?proxy",
            r"video restricted to ",
        ),
    ),
    (
        FailureKind.NOT_LIVE_YET,
        _any(
            r"premieres? (in|on|at|begins|will)\b",
            r"will (begin|start|premiere|air|be available|go live) ?(in|at|on|after|shortly|soon)?\b",
            r"(has|have|is|are) (not|n't) (yet )?(started|begun|aired)( yet)?\b",
            r"(hasn't|haven't|not) (yet )?(started|begun)( yet)?",
            r"scheduled (for|to)\b",
            r"not (currently )?live\b",
            r"(is|currently) offline\b(?! because)",
            r"not (yet available|available yet)",
            r"(model|streamer|user|channel|host) (is )?(currently )?offline",
            r"(this|the) video is processing|processing this video|still be (uploading|processing)",
            r"release date: ",
            r"upcoming\b",
        ),
    ),
    (
        FailureKind.PRIVATE,
        _any(
            r"private (video|playlist|post|subreddit|content|account|show|channel|stream|profile|favou?rites|event)",
            r"(is|are|set to|likely either|made) private\b",
            r"pass(word|code)[- ](protected|required)|protected by a pass(word|code)|video[- ]password",
            r"(invalid|incorrect|wrong) (video )?pass(word|code)\b(?!.*user)",
            r"privacy settings",
            r"protected tweet",
            r"(follow|followers of) this (account|user)",
            r"do(es)? not have permission to view",
            r"not been made available to anyone",
        ),
    ),
    (
        FailureKind.LOGIN_REQUIRED,
        _any(
            r"\b(log|sign)(ged)?[- ]?in(to)?\b",
            r"\blogin\b",
            r"registered users",
            r"(account|authentication|authorization|credentials?) (is |are )?(needed|required)",
            r"requires? (an? )?(account|authentication|registration|log)",
            r"log into an account",
            r"(access )?token (has |is )?(expired|invalid)|expired token",
            r"accessible in your browser without being logged",
            r"(session )?cookies (are|is) (required|needed)",
            r"--cookies|--username|--netrc|--ap-mso",
            r"(invalid|incorrect|wrong|bad) (user ?name|e-?mail|login|user id|credentials)",
            r"dashboard-only",
        ),
    ),
)

#: Words of the network, of name servers and of ffmpeg's own client, where no exception is left to ask.
TRANSPORT: Phrases = (
    (
        FailureKind.DNS,
        _any(
            r"name or service not known",
            r"temporary failure in name resolution",
            r"failed to resolve (host|')",
            r"nodename nor servname",
            r"no address associated with hostname",
            r"getaddrinfo failed",
            r"could not resolve",
            r"name(server)? resolution",
            r"\bNXDOMAIN\b|\bSERVFAIL\b",
        ),
    ),
    (
        FailureKind.NETWORK,
        _any(
            r"timed? ?out\b",
            r"connection (was )?(reset|refused|aborted|broken|closed|error)",
            r"remote end closed",
            r"more expected\b",
            r"content too short",
            r"downloaded \d+ bytes, expected",
            r"certificate",
            r"\bSSL\b|\bTLS\b|handshake",
            r"(network|host) is (unreachable|down)|no route to host",
            r"did not get any data blocks",
            r"downloaded file is empty",
            r"fragment \d+ not found",
            r"unable to connect|tunnel connection failed|cannot connect to proxy",
            r"broken pipe|incomplete ?read|end of file|error reading http",
            r"network error",
        ),
    ),
)

#: Vague words: asked last, when neither an exception's type nor an HTTP status has decided.
VAGUE: Phrases = (
    (
        FailureKind.INVALID_URL,
        _any(
            r"is not a valid url",
            r"unsupported url scheme",
            r"file:// urls are disabled",
            r"invalid url\b",
            r"blob url",
            r"incomplete youtube id",
            r"looks truncated",
        ),
    ),
    (
        FailureKind.UNSUPPORTED_URL,
        _any(
            r"unsupported url",
            r"no suitable extractor",
            r"(no longer|not|isn't|aren't|currently) (be )?(un)?supported\b",
            r"unsupported [\w ]*(type|player|embed|location)",
            r"(no|not find any|without|any) (video(?! formats)|media|audio|video/audio|playable|supported|tracks)s?\b"
            r"[^.]*\b(in|on|at|found|for|content)\b",
            r"there('s| is) no video",
            r"(does not|doesn't|not) (contain|have) (a |any )?(video|audio|media|tracks)",
            r"(is )?not a video\b",
            r"not a media file",
            r"embed-only|embedding url|embedding webpage",
            r"maybe a plain image",
        ),
    ),
    # "Video unavailable. Playback on other websites has been disabled …": the second sentence is the reason.
    (FailureKind.FORBIDDEN, _any(r"playback on other websites", r"disabled by the video owner")),
    (
        FailureKind.SITE_CHANGED,
        _any(
            r"unable to extract",
            r"(could(n't| not)|can(not|n't)|unable to|failed to) "
            r"(find|extract|parse|decode|decrypt|identify|recognize|get|obtain|fetch|retrieve|calculate|resolve|load)",
            r"\bmissing [\w ]*(data|id|url|metadata)\b|received invalid|wrong video data",
            r"(embed|host|player|auth token)[\w ]* found\b",
            r"failed to parse (json|xml)",
            r"please report this issue",
            r"no video formats found",
            r"an extractor error has occurred",
            r"unexpected (response|api|content|video|player|error from)",
            r"latest version of youtube",
        ),
    ),
    (
        FailureKind.SITE_ERROR,
        _any(
            r"internal server error|server[- ]side|server error|backend fetch failed",
            r"temporarily|try again|retry later|something went wrong|needs to be reloaded",
            r"unknown error|api (error|returned|call was unsuccessful)|unspecified|giving up retrying",
            r"incomplete [\w ]*data received",
        ),
    ),
    (
        FailureKind.NOT_FOUND,
        _any(
            r"not (be )?found",
            r"(does|do|did) ?(not|n't) exist|no longer exists?",
            r"no such",
            r"(been|was|were|is|be) (removed|deleted|terminated|suspended|disabled|taken down|closed|expired)",
            r"(removed|deleted|taken down) by",
            r"(is|are|be|currently|video|this video) unavailable|unavailable\b",
            r"(not|n't|in no longer|no longer) (currently )?(be )?(available|accessible|viewable|archived)|unviewable",
            r"(has|have|was) ?(already )?(ended|expired|over)\b",
            r"copyright",
            r"unreachable\b",
            r"no (video|episodes?|songs?|downloads?|media|source) ",
        ),
    ),
    (
        FailureKind.FORBIDDEN,
        _any(
            r"(access|permission) (is |was )?(denied|forbidden)",
            r"not (authorized|allowed|permitted)",
            r"\bforbidden\b|restricted|inaccessible|can't be accessed|is locked|unplayable|blocked",
        ),
    ),
    (
        FailureKind.PROCESSING,
        _any(
            r"postprocessing",
            r"ffmpeg|ffprobe|conversion failed|error opening output|invalid data found when processing",
            r"could not write header|error (muxing|encoding|decoding|initializing)",
        ),
    ),
)


def kind_of(text: str, phrases: Phrases) -> FailureKind | None:
    """The kind of the first rule in `phrases` that occurs in `text`, which may have several lines."""
    plain = text.replace("’", "'")
    return next((kind for kind, pattern in phrases if pattern.search(plain)), None)
