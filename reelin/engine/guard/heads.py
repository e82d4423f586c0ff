"""The heads of HTTP messages, as far as a proxy must understand them: one request per connection, bodies unseen."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_HEAD = 64 * 1024

_END = re.compile(rb"\r?\n\r?\n")
_FIELD_END = re.compile(rb"\r?\n(?![ \t])")  # a line that begins with a blank belongs to the one before
#: Meant for this hop only. The connection ends with the answer, so that its body needs no understanding.
_OF_THIS_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization"})


class BadRequest(Exception):
    """Not what a proxy is asked."""


@dataclass(frozen=True)
class Request:
    """`onward` is the head to send to the server, None for CONNECT. `user` and `password` are the proxy's own."""

    host: str
    port: int
    onward: bytes | None
    user: str
    password: str


def end_of_head(data: bytes | bytearray) -> int | None:
    found = _END.search(data)
    return found.end() if found else None


def request_of(head: bytes) -> Request:
    """Raises BadRequest."""
    line, fields = _split(head)
    user, password = _credentials(fields)
    try:
        method, target, version = line.decode("ascii").split(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        if method == "CONNECT":
            parts = urlsplit(f"//{target}")
            onward, default_port = None, 443
        else:
            parts = urlsplit(target)
            if parts.scheme != "http":
                return _for_itself(target, user, password)
            onward, default_port = _onward(method, target, parts.netloc, fields), 80
        host, port = parts.hostname or "", parts.port or default_port
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if not host:
        raise BadRequest("no host")
    return Request(host, port, onward, user, password)


def _for_itself(target: str, user: str, password: str) -> Request:
    """A path alone is a question to the proxy itself; any other scheme is none that it speaks."""
    if not target.startswith("/"):
        raise BadRequest("http and https only")
    return Request("", 0, None, user, password)


def answer_for_client(head: bytes, *, bodiless: bool) -> tuple[bytes, bool]:
    """A server's head with the word that this connection is not to be used again; and whether to send the body in
    chunks. Where the server does not say how long its body is, its end and a broken connection would look alike.
    """
    line, fields = _split(head)
    kept = [field for field in fields if _name(field) not in _OF_THIS_HOP]
    framed = any(_name(field) in (b"content-length", b"transfer-encoding") for field in fields)
    chunked = not (framed or bodiless or re.match(rb"HTTP/1\.\d (204|304)\b", line))
    if chunked:
        line = b"HTTP/1.1" + line[8:]
        kept.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join([line, *kept, b"Connection: close", b"", b""]), chunked


def is_answer(head: bytes) -> bool:
    return re.match(rb"HTTP/1\.\d \d\d\d\b", head) is not None


def is_interim(head: bytes) -> bool:
    """`100 Continue` and the like: the real answer follows."""
    return re.match(rb"HTTP/1\.\d 1(?!01)\d\d\b", head) is not None


def _split(head: bytes) -> tuple[bytes, list[bytes]]:
    line, *fields = _FIELD_END.split(head)
    return line, [field for field in fields if field]


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].strip().lower()


def _onward(method: str, target: str, netloc: str, fields: list[bytes]) -> bytes:
    """Host is what the target says, whatever the client wrote: the address checked belongs to the target."""
    path = target.partition("//")[2][len(netloc) :].partition("#")[0]
    line = f"{method} {path if path.startswith('/') else '/' + path} HTTP/1.1".encode("ascii")
    host = b"Host: " + netloc.rpartition("@")[2].encode("ascii")
    kept = [field for field in fields if _name(field) not in _OF_THIS_HOP | {b"host"}]
    return b"\r\n".join([line, host, *kept, b"Connection: close", b"", b""])


def _credentials(fields: list[bytes]) -> tuple[str, str]:
    for field in fields:
        if _name(field) == b"proxy-authorization":
            scheme, _, encoded = field.partition(b":")[2].strip().partition(b" ")
            if scheme.lower() == b"basic":
                try:
                    user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
                except (binascii.Error, UnicodeDecodeError):
                    break
                return user, password
    return "", ""
