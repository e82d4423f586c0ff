"""Landlock, the kernel's own sandbox for programs without privileges: three system calls, and what each version has.

A thread restricts itself, and whatever it starts from then on; it can narrow that down, and never take it back.
Not restricted: looking at a file's size and times (stat), and the descriptors that are open already.
"""

from __future__ import annotations

import ctypes
import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  #: The same numbers on every architecture.
_ASK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

#: The first one forbids every rename into another folder, and resuming lives on renames.
OLDEST_ABI = 2
TCP_ABI = 4
SCOPE_ABI = 6

_libc = ctypes.CDLL(None, use_errno=True)


class Access(IntFlag):
    """The kernel's bits, by what they allow beneath a folder or to a file."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  #: Rename and link from one folder to another.
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


#: What a rule for a file, not for a folder, may allow.
_OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
_SINCE = ((2, Access.REFER), (3, Access.TRUNCATE), (5, Access.IOCTL_DEV))


@dataclass(frozen=True)
class Rule:
    """`access` is allowed to what `descriptor` (O_PATH) is, and to everything beneath it."""

    descriptor: int
    access: Access
    of_folder: bool


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("descriptor", ctypes.c_int32)]


class _NetPort(ctypes.Structure):
    _fields_ = [("access", ctypes.c_uint64), ("port", ctypes.c_uint64)]


def abi() -> int:
    """The kernel's version of Landlock; 0 where there is none, or where it is switched off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)))


def available() -> bool:
    return abi() >= OLDEST_ABI


def in_force() -> bool:
    """Tried out, in a thread that gives up every right to files and then looks at one."""
    refused = []

    def give_up() -> None:
        try:
            restrict([])
            next(Path("/").iterdir())
        except PermissionError:
            refused.append(True)
        except OSError:
            pass  # It cannot be had: not in force.

    thread = threading.Thread(target=give_up)
    thread.start()
    thread.join()
    return bool(refused)


def rule(path: str, access: Access) -> Rule | None:
    """None where there is no such path. The descriptor stays open: it keeps the kernel's idea of the file alive."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    return Rule(descriptor, access, stat.S_ISDIR(os.fstat(descriptor).st_mode))


def restrict(rules: Sequence[Rule], *, tcp_port: int | None = None) -> None:
    """This thread, from now on: files by `rules` only; with a `tcp_port`, TCP to that port of any host only.

    Signals and abstract sockets reach nobody outside. What the kernel's version does not know is left out.
    Raises OSError where the kernel has no Landlock.
    """
    version = abi()
    handled = _handled(version)
    ruleset = _create(version, handled, tcp=tcp_port is not None)
    try:
        for each in rules:
            allowed = each.access & handled if each.of_folder else each.access & handled & _OF_FILES
            _add(ruleset, _PATH_BENEATH, _PathBeneath(allowed, each.descriptor))
        if tcp_port is not None and version >= TCP_ABI:
            _add(ruleset, _NET_PORT, _NetPort(_CONNECT_TCP, tcp_port))
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _handled(version: int) -> Access:
    """Whatever is handled and not allowed by a rule is forbidden."""
    later = [access for since, access in _SINCE if version < since]
    handled = Access((1 << 16) - 1)
    for access in later:
        handled &= ~access
    return handled


def _create(version: int, handled: Access, *, tcp: bool) -> int:
    wanted = _Ruleset(fs=handled)
    size = 8
    if version >= TCP_ABI:
        wanted.net, size = _BIND_TCP | _CONNECT_TCP if tcp else 0, 16
    if version >= SCOPE_ABI:
        wanted.scoped, size = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS, 24
    return _check(_libc.syscall(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(size), 0), "landlock")


def _add(ruleset: int, kind: int, what: ctypes.Structure) -> None:
    _check(_libc.syscall(_ADD_RULE, ruleset, kind, ctypes.byref(what), 0), "landlock_add_rule")


def _check(result: int, call: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")
    return result
