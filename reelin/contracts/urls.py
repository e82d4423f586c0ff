"""What makes a URL one that Reelin takes, what makes two URLs one, and which site a URL belongs to.

Not imported by workflow modules: the public suffix list is heavy.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import json
import socket
import string
from urllib.parse import SplitResult, urlsplit, urlunsplit

import tldextract

from reelin.contracts.jobs import Kind
from reelin.contracts.options import Options
from reelin.errors import InvalidInput

MAX_URL_LENGTH = 4096
_LONGEST_HOST = 253  # by RFC 1035
_REMEDY = "Give a complete address such as https://example.org/watch?v=1."
#: A host is shown as the job's site, also where Markdown is read. Letters beyond ASCII stay: names have them.
_UNFIT_FOR_A_HOST = frozenset(string.punctuation) - frozenset(".-_")
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(text: str, *, allowed: tuple[IPNetwork, ...] = ()) -> str:
    """`text` as a URL that Reelin takes: http or https, with a host, and not a literal private address.

    `allowed` are the ranges opened by REELIN_EGRESS_ALLOW. Raises InvalidInput.
    """
    url = text.strip()
    if not url or len(url) > MAX_URL_LENGTH:
        raise InvalidInput(f"A URL has 1 to {MAX_URL_LENGTH} characters.", remedy=_REMEDY, field="url")
    if not url.isprintable() or " " in url or "\\" in url:  # of what is space, only " " is printable
        raise InvalidInput("A URL has no spaces, backslashes or control characters.", remedy=_REMEDY, field="url")
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        scheme = parts.scheme or "none"
        raise InvalidInput(
            f"Reelin fetches http and https only; this URL's scheme is {scheme[:20]}.", remedy=_REMEDY, field="url"
        )
    if not parts.hostname:
        raise InvalidInput("The URL names no host.", remedy=_REMEDY, field="url")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "The URL carries a user name or password.",
            remedy="Remove what stands before the '@'; for accounts use options.cookies.",
            field="url",
        )
    address = literal_address(parts.hostname)
    if len(parts.hostname) > _LONGEST_HOST or (address is None and _UNFIT_FOR_A_HOST.intersection(parts.hostname)):
        raise InvalidInput(f"{parts.hostname[:60]!r} cannot be the name of a host.", remedy=_REMEDY, field="url")
    if "__youtubedl_smuggle" in url:
        raise InvalidInput("The URL carries internal data of yt-dlp.", remedy=_REMEDY, field="url")
    if address is not None and not reachable(address, allowed):
        raise InvalidInput(
            f"The address {address} is in a private or reserved range.",
            remedy="Reelin reaches public addresses only. To allow this one, start it with "
            f"REELIN_EGRESS_ALLOW={address}/{address.max_prefixlen}.",
            field="url",
        )
    return url


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port out of range shows only when it is asked for
    except ValueError as error:
        raise InvalidInput(f"This is not a URL: {error}.", remedy=_REMEDY, field="url") from error
    return parts


def literal_address(host: str) -> IPAddress | None:
    """The address that `host` spells out, in any of the ways that resolvers accept (2130706433, 0x7f.1), else None."""
    numeric = all(label[:1].isdigit() for label in host.strip("[]").rstrip(".").split("."))
    if ":" not in host and not numeric:
        return None  # a name, as most are
    try:
        return ipaddress.ip_address(host.strip("[]").split("%")[0])
    except ValueError:
        pass
    if not numeric:
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None


def reachable(address: IPAddress, allowed: tuple[IPNetwork, ...]) -> bool:
    """Whether a download may connect to `address`: a public one, or in a range that was opened."""
    embedded = _embedded_ipv4(address)
    if any(address in network for network in allowed if network.version == address.version):
        return True
    if embedded is not None:
        return reachable(embedded, allowed)
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def _embedded_ipv4(address: IPAddress) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


#: Where nothing public lives: the special-purpose registries of RFC 6890 (IANA, both versions), deprecated ranges, and
#: what clouds keep for themselves. `ipaddress.is_global` lets some of them pass, and not the same ones in every Python.
_SPECIAL: tuple[IPNetwork, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata at 192.0.0.192
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),  # documentation
        *("192.31.196.0/24", "192.175.48.0/24"),  # AS112: answers to lookups of private names
        *("192.52.193.0/24", "192.88.99.0/24"),  # tunnels: AMT, and the relay of 6to4
        *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's platform, on a public address
        "::/96",  # the unspecified and the loopback address, and IPv4 in its oldest disguise (::127.0.0.1)
        "::ffff:0:0:0/96",  # IPv4 translated (RFC 2765)
        "64:ff9b:1::/48",  # NAT64 of a network's own
        *("100::/64", "100:0:0:1::/64"),  # discarded
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        *("2001:db8::/32", "3fff::/20"),  # documentation
        "2620:4f:8000::/48",  # AS112
        "5f00::/16",  # segment routing
        *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)


@functools.cache
def _suffixes() -> tldextract.TLDExtract:
    # The list that ships with the package: nothing is downloaded, nothing is cached on disk.
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def site_of(url: str) -> str:
    """The registrable domain, or the bare host (no port) for addresses and single-label names."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    address = literal_address(host)
    if address is not None:
        return str(address)  # however it was spelled
    return str(_suffixes()(host).top_domain_under_public_suffix) or host


def canonical_url(url: str) -> str:
    """One spelling for what is surely one URL: host in lower case, default port, fragment and empty path gone.

    The query stays as it is: only the site knows which of its parameters matter. A fragment that looks like a
    path (`#/video/1`, `#!…`) is kept, since some sites route by it.
    """
    parts = urlsplit(url.strip())
    host = (parts.hostname or "").rstrip(".").lower()
    if ":" in host:
        host = f"[{host}]"
    default_port = {"http": 80, "https": 443}.get(parts.scheme)
    netloc = host if parts.port in (None, default_port) else f"{host}:{parts.port}"
    fragment = parts.fragment if parts.fragment.startswith(("/", "!")) else ""
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, fragment))


def job_id_for(kind: Kind, owner: str, url: str, preset: str, options: Options) -> str:
    """The id of the job that would produce this: `video-`, `playlist-` or `info-`, and a hash of owner, URL and
    shaping options."""
    prefix = {Kind.INFO: "info", Kind.PLAYLIST: "playlist"}.get(kind, "video")
    shape = {"cookies": options.cookies} if kind is Kind.INFO else options.shaping(preset)
    identity = json.dumps([owner, canonical_url(url), shape], sort_keys=True, ensure_ascii=False)
    return f"{prefix}-{hashlib.sha256(identity.encode()).hexdigest()[:24]}"
