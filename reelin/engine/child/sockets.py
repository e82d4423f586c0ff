"""The sockets that a child may make, by seccomp: Landlock guards TCP only, and only where it goes by that name.

Left are plain TCP sockets, whose connections Landlock judges by port. Datagrams, multipath TCP, fast open, raw and Unix
sockets (a container engine's, an SSH agent's) would lead past the egress guard.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, IPPROTO_TCP, MSG_FASTOPEN, SOCK_STREAM

_PR_GET_SECCOMP, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 21, 22, 2, 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _AND, _IF_EQUAL, _IF_ANY_BIT, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_KIND = 0xF  #: Of a socket's type; the bits above it are flags.
_X32 = 0x40000000  #: On x86-64, the same calls under other numbers.
_IO_URING_SETUP = 425  #: Sends and connects without a call that a filter sees.

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class _Calls:
    """An architecture's name for itself, and its numbers of the calls."""

    architecture: int
    socket: int
    sendto: int
    sendmsg: int
    sendmmsg: int


_CALLS = {
    "x86_64": _Calls(0xC000003E, socket=41, sendto=44, sendmsg=46, sendmmsg=307),
    "aarch64": _Calls(0xC00000B7, socket=198, sendto=206, sendmsg=211, sendmmsg=269),
}


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


def available() -> bool:
    """Whether the kernel has seccomp, and this machine's calls are known. Else Landlock alone has to do."""
    return platform.machine() in _CALLS and _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def plain_tcp_only() -> None:
    """This thread and all that it starts from now on. Raises OSError where the kernel has no seccomp."""
    code = _filter(_CALLS[platform.machine()])
    instructions = (_Instruction * len(code))(*code)
    program = _Program(len(code), instructions)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def _filter(calls: _Calls) -> Sequence[_Instruction]:
    """Each part leaves the filter with a verdict, or goes on behind its own end."""
    return [
        *_unless(_ARCHITECTURE, (calls.architecture,), errno.ENOSYS),
        _load(_NUMBER),
        _Instruction(_IF_AT_LEAST, 0, 1, _X32),
        _refuse(errno.ENOSYS),
        _Instruction(_IF_EQUAL, 0, 1, _IO_URING_SETUP),
        _refuse(errno.ENOSYS),
        *_for_call(calls.sendto, _no_fast_open(3)),
        *_for_call(calls.sendmsg, _no_fast_open(2)),
        *_for_call(calls.sendmmsg, _no_fast_open(3)),
        *_for_call(
            calls.socket,
            [
                *_unless(_argument(0), (AF_INET, AF_INET6), errno.EACCES),
                *_unless(_argument(1), (SOCK_STREAM,), errno.EACCES, mask=_KIND),
                *_unless(_argument(2), (0, IPPROTO_TCP), errno.EACCES),
            ],
        ),
        _allow(),
    ]


def _for_call(number: int, checks: Sequence[_Instruction]) -> list[_Instruction]:
    """`checks`, then allowed; other calls go on behind them."""
    return [_Instruction(_IF_EQUAL, 0, len(checks) + 1, number), *checks, _allow()]


def _unless(offset: int, values: Sequence[int], refusal: int, mask: int | None = None) -> list[_Instruction]:
    masked = [] if mask is None else [_Instruction(_AND, 0, 0, mask)]
    tests = [_Instruction(_IF_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_load(offset), *masked, *tests, _refuse(refusal)]


def _no_fast_open(flags: int) -> list[_Instruction]:
    return [_load(_argument(flags)), _Instruction(_IF_ANY_BIT, 0, 1, MSG_FASTOPEN), _refuse(errno.EOPNOTSUPP)]


def _argument(number: int) -> int:
    return _ARGUMENTS + 8 * number


def _load(offset: int) -> _Instruction:
    return _Instruction(_LOAD, 0, 0, offset)


def _refuse(error: int) -> _Instruction:
    return _Instruction(_RETURN, 0, 0, _ERRNO | error)


def _allow() -> _Instruction:
    return _Instruction(_RETURN, 0, 0, _ALLOW)
