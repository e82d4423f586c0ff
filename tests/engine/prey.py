"""What code that a site has taken over might try, by name: each attempt is made for real, and undone where it works."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any

from reelin.contracts.model import Message

_MPTCP = 262
_PTRACE_SEIZE = 0x4206

Attempts = dict[str, Callable[[], object]]


class Prey(Message):
    """Where the attempts are made. `media_url` is downloaded in the end, as if nothing were the matter."""

    media_url: str
    secrets: dict[str, str]
    files: dict[str, str]
    folders: dict[str, str]
    program: str
    ffmpeg: str
    port: int
    datagrams: int
    unix: str
    abstract: str
    process: int
    own: str


def what_works(prey: Prey) -> list[str]:
    worked = []
    for name, attempt in attempts(prey).items():
        try:
            attempt()
        except (OSError, subprocess.SubprocessError):
            continue
        worked.append(name)
    return worked


def attempts(prey: Prey) -> Attempts:
    """An attempt that raises nothing has worked."""
    found: Attempts = {}
    for name, path in prey.secrets.items():
        found |= _to_read(name, Path(path), prey)
    for name, path in prey.files.items():
        found |= _to_change(name, Path(path), prey)
    for name, path in prey.folders.items():
        found |= _to_enter(name, Path(path), prey)
    return found | _on_the_network(prey) | _on_processes(prey)


def _to_read(name: str, path: Path, prey: Prey) -> Attempts:
    inside = Path(prey.own, name.replace(" ", "-"))
    symlink, link = inside.with_suffix(".symlink"), inside.with_suffix(".link")

    def symlinked() -> None:
        symlink.symlink_to(path)
        symlink.read_bytes()

    def linked() -> None:
        link.hardlink_to(path)
        link.read_bytes()

    return {
        f"read {name}": path.read_bytes,
        f"list the folder of {name}": lambda: list(path.parent.iterdir()),
        f"read {name} by a symbolic link": symlinked,
        f"read {name} by a hard link": linked,
        f"read {name} with cat": lambda: _run("cat", str(path)),
        f"read {name} with ffmpeg": lambda: _run(
            prey.ffmpeg, "-f", "data", "-i", str(path), "-map", "0", "-f", "null", "-"
        ),
        f"copy {name} with a shell": lambda: _shell(f"cp {quote(str(path))} {quote(str(inside))}"),
    }


def _to_change(name: str, path: Path, prey: Prey) -> Attempts:
    aside = Path(prey.own, "aside")

    def overwritten() -> None:
        with path.open("r+b") as file:
            file.write(b"x")

    return {
        f"overwrite {name}": overwritten,
        f"append to {name} with a shell": lambda: _shell(f"echo x >> {quote(str(path))}"),
        f"truncate {name}": lambda: os.truncate(path, 1),
        f"take {name} away": lambda: path.rename(aside).rename(path),
        f"delete {name}": path.unlink,
    }


def _to_enter(name: str, folder: Path, prey: Prey) -> Attempts:
    own, mark = Path(prey.own, "draft"), folder / f"planted-{os.getpid()}"

    def written() -> None:
        mark.write_bytes(b"x")
        mark.unlink()

    def made() -> None:
        mark.mkdir()
        mark.rmdir()

    def moved() -> None:
        own.write_bytes(b"x")
        own.rename(mark).unlink()

    def linked() -> None:
        own.write_bytes(b"x")
        mark.hardlink_to(own)
        mark.unlink()

    quoted = quote(str(mark))
    return {
        f"write into {name}": written,
        f"make a folder in {name}": made,
        f"move a file into {name}": moved,
        f"link a file into {name}": linked,
        f"write into {name} with a shell": lambda: _shell(f"echo x > {quoted} && rm {quoted}"),
    }


def _on_the_network(prey: Prey) -> Attempts:
    tcp, udp, here = socket.SOCK_STREAM, socket.SOCK_DGRAM, "127.0.0.1"

    def fast() -> None:
        with socket.socket() as opened:
            opened.sendto(b"x", socket.MSG_FASTOPEN, (here, prey.port))

    return {
        "connect by TCP": _connected(socket.AF_INET, tcp, 0, (here, prey.port)),
        "connect by multipath TCP": _connected(socket.AF_INET, tcp, _MPTCP, (here, prey.port)),
        "connect by fast open": fast,
        "send a datagram": _connected(socket.AF_INET, udp, 0, (here, prey.datagrams)),
        "connect to a socket in a folder": _connected(socket.AF_UNIX, tcp, 0, prey.unix),
        "connect to an abstract socket": _connected(socket.AF_UNIX, tcp, 0, "\0" + prey.abstract),
        "listen": lambda: socket.create_server((here, 0)).close(),
        "connect with a shell": lambda: _run("bash", "-c", f"echo > /dev/tcp/{here}/{prey.port}"),
    }


def _connected(family: int, kind: int, protocol: int, address: Any) -> Callable[[], object]:
    def attempt() -> None:
        with socket.socket(family, kind, protocol) as opened:
            opened.connect(address)
            opened.send(b"x")

    return attempt


def _on_processes(prey: Prey) -> Attempts:
    def traced() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(_PTRACE_SEIZE, prey.process, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def memory_opened() -> None:
        with Path(f"/proc/{prey.process}/mem").open("r+b"):
            pass

    return {
        "signal a process": lambda: os.kill(prey.process, 0),
        "signal a process with a shell": lambda: _shell(f"kill -0 {prey.process}"),
        "trace a process": traced,
        "read a process's environment": Path(f"/proc/{prey.process}/environ").read_bytes,
        "open a process's memory": memory_opened,
        "run a program of its own": lambda: _run(prey.program),
    }


def _shell(command: str) -> None:
    _run("sh", "-c", command)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
