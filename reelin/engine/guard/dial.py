"""From a host's name to a connection: resolved once, every address checked, connected to one that was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

from reelin.contracts.failures import FailureKind
from reelin.contracts.urls import IPAddress, IPNetwork, literal_address, reachable
from reelin.errors import is_exhaustion

_RESOLVE_SECONDS = 10.0
#: yt-dlp waits 15 s for an answer. An address that does not answer must leave time for the next one.
_CONNECT_SECONDS = 10.0
_CONNECT_SECONDS_WITH_OTHERS_LEFT = 3.0

Resolver = Callable[[str], Awaitable[Sequence[IPAddress]]]


class DialFailed(Exception):
    """`kind` is `blocked_address`, `dns`, `network` or `resources_exhausted`."""

    def __init__(self, kind: FailureKind, host: str) -> None:
        super().__init__(f"{kind.value}: {host}")
        self.kind = kind
        self.host = host


async def system_resolver(host: str) -> Sequence[IPAddress]:
    """Raises OSError or UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(address[0].split("%")[0]) for *_, address in found if isinstance(address[0], str)]


class Dialer:
    """`allowed` are the ranges opened by REELIN_EGRESS_ALLOW."""

    def __init__(self, allowed: tuple[IPNetwork, ...], resolver: Resolver = system_resolver) -> None:
        self._allowed = allowed
        self._resolver = resolver

    async def connect(self, host: str, port: int) -> socket.socket:
        """Raises DialFailed."""
        addresses = await self._addresses(host)
        if not all(reachable(address, self._allowed) for address in addresses):
            # One private address among public ones is how a rebinding name looks: no choosing among them.
            raise DialFailed(FailureKind.BLOCKED_ADDRESS, host)
        for left, address in reversed(list(enumerate(reversed(addresses)))):
            seconds = _CONNECT_SECONDS_WITH_OTHERS_LEFT if left else _CONNECT_SECONDS
            try:
                return await _connected(address, port, seconds)
            except OSError as error:
                if is_exhaustion(error):
                    raise DialFailed(FailureKind.RESOURCES_EXHAUSTED, host) from error
        raise DialFailed(FailureKind.NETWORK, host)

    async def _addresses(self, host: str) -> Sequence[IPAddress]:
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                addresses = list(dict.fromkeys(await self._resolver(host)))
        except (OSError, ValueError) as error:  # UnicodeError, for a name that is none, is a ValueError
            kind = FailureKind.RESOURCES_EXHAUSTED if is_exhaustion(error) else FailureKind.DNS
            raise DialFailed(kind, host) from error
        if not addresses:
            raise DialFailed(FailureKind.DNS, host)
        return addresses


async def _connected(address: IPAddress, port: int, seconds: float) -> socket.socket:
    """Raises OSError (TimeoutError is one)."""
    connection = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection
