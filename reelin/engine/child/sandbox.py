"""What a child may touch, by the kernel's word: see "The sandbox" in docs/architecture.md.

Two layers, since a child is used for several jobs and Landlock can only be narrowed: the process may change what is
below the scratch root, and each task's thread, with all that it starts, only what is below its own job's folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reelin.engine import landlock
from reelin.engine.child import sockets
from reelin.engine.child.tools import Tools
from reelin.engine.landlock import Access, Rule
from reelin.engine.programs import find_deno

_READ = Access.READ_FILE | Access.READ_DIR
_RUN = _READ | Access.EXECUTE
#: No links, sockets, pipes or devices: nothing that leads elsewhere, for whoever comes after the child.
_CHANGE = (
    _READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.REFER
    | Access.MAKE_REG
    | Access.MAKE_DIR
    | Access.REMOVE_FILE
    | Access.REMOVE_DIR
)

#: Programs and their libraries. The last two are where some systems keep all of theirs.
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
#: Names, time zones, certificates: what a C library or OpenSSL looks up. Never all of /etc.
_SETTINGS = (
    *("alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "gai.conf", "host.conf", "hosts"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "os-release", "pki"),
    *("protocols", "resolv.conf", "services", "ssl", "timezone"),
)
_MACHINE = (
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/kernel/random/boot_id"),
    "/sys/devices/system/cpu",
)
_CHANCE = ("/dev/random", "/dev/urandom", "/dev/zero")
_NOWHERE = "/dev/null"
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
#: Where programs want to keep things: deno its cache, ffmpeg and Python's tempfile their drafts.
_PLACES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DENO_DIR")


class Sandbox:
    """Of one child, which must be single-threaded when it is built: the process is restricted from then on."""

    def __init__(self, scratch_root: Path, tools: Tools) -> None:
        self._root = scratch_root
        self._tcp_port = int(tools.guard.address.rpartition(":")[2]) if tools.guard else None
        self._readable = list(_readable(tools))
        # Not made here: where it is missing, so is the media folder's disk, and this child is outdated already.
        root = landlock.rule(str(scratch_root), _CHANGE)
        self._root_inode = _inode(os.fstat(root.descriptor)) if root else None
        landlock.restrict([*self._readable, *([root] if root else [])], tcp_port=self._tcp_port)
        if self._tcp_port is not None and sockets.available():
            sockets.plain_tcp_only()

    @property
    def outdated(self) -> bool:
        """The scratch root was not there, or somebody has put another folder in its place: this child can do nothing
        there."""
        try:
            return _inode(self._root.stat()) != self._root_inode
        except FileNotFoundError:
            return True

    def narrow(self, folder: Path) -> None:
        """This thread, and what it starts: of everything below the scratch root, `folder` only."""
        folder.mkdir(parents=True, exist_ok=True)
        own = landlock.rule(str(folder), _CHANGE)
        if own is None:
            raise FileNotFoundError("the job's scratch folder is gone")
        try:
            landlock.restrict([*self._readable, own], tcp_port=self._tcp_port)
        finally:
            os.close(own.descriptor)


def settle_programs_in(folder: Path) -> None:
    """Whatever a program would put into a home folder or /tmp goes to the job's folder, and with it."""
    os.environ.update(dict.fromkeys(_PLACES, str(folder)))
    tempfile.tempdir = str(folder)


def _readable(tools: Tools) -> Iterator[Rule]:
    yield from _rules(_RUN, *_PROGRAMS, tools.ffmpeg, str(find_deno() or ""), *_python())
    yield from _rules(_READ, *(f"/etc/{name}" for name in _SETTINGS), *_MACHINE, *_CHANCE)
    yield from _rules(_READ, *(os.environ[name] for name in _CERTIFICATES if os.environ.get(name)))
    yield from _rules(Access.READ_FILE | Access.WRITE_FILE, _NOWHERE)


def _rules(access: Access, *paths: str) -> Iterator[Rule]:
    return (rule for path in paths if path and (rule := landlock.rule(path, access)) is not None)


def _python() -> Iterator[str]:
    """Python, and each package by its own folder: an entry of sys.path may be a home folder or hold the database."""
    whole = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    whole |= {entry for entry in sys.path if Path(entry).name in _PACKAGE_FOLDERS}
    yield from whole
    origins = {origin for name in sys.modules if "." not in name and (origin := _origin(name))}
    yield from (origin for origin in origins if not origin.startswith(tuple(f"{folder}/" for folder in whole)))


def _origin(name: str) -> str | None:
    module = sys.modules[name]
    found = getattr(module, "__file__", None)
    if not isinstance(found, str):
        return None
    return str(Path(found).parent) if hasattr(module, "__path__") else found


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
