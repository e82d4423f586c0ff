"""Loopback ports: the usual one if it is free, else another, said so."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """`wanted` differs from `number` where the wanted port was taken."""

    number: int
    wanted: int

    @property
    def moved(self) -> bool:
        return self.wanted not in (0, self.number)


def choose_port(wanted: int, host: str = "127.0.0.1") -> Port:
    """For a program that binds the port itself a moment later. 0 asks for any free one."""
    for candidate in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return Port(probe.getsockname()[1], wanted)
    raise OSError(f"there is no free port on {host}")
