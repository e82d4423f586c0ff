"""The worker's side of the fork server: start it, ask it for children, hear how they ended."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from typing import IO

from reelin.engine.childprocess import ChildProcess
from reelin.engine.environment import environment as environment_of
from reelin.engine.trees import kill_tree
from reelin.engine.wire import CONTROL_REPLY, ControlReply, Launch, Ready, Refused, Spawn, Spawned
from reelin.errors import StartupError

PROGRAM = "reelin.engine.child"
_MAX_MESSAGE = 65536
_START_SECONDS = 60.0
_SPAWN_SECONDS = 15.0
_LEAVE_SECONDS = 1.0
_POLL_SECONDS = 0.005


class ForkServerLost(Exception):
    """The fork server is gone, and all its children with it."""


class ForkServerHandle:
    """One fork server. It is started once; a lost one is replaced by a new handle."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, errors: IO[bytes]) -> None:
        self._process = process
        self._control = control
        self._errors = errors
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._spawning: deque[asyncio.Future[int]] = deque()
        self._children: dict[int, ChildProcess] = {}
        self._unclaimed: dict[int, int] = {}
        self.lost = False

    @classmethod
    async def start(cls, launch: Launch, environment: Mapping[str, str]) -> ForkServerHandle:
        """Returns once it is warm. Raises StartupError with the last line that it wrote."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        errors = await asyncio.to_thread(tempfile.TemporaryFile)  # it lives as long as the process that writes to it
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  (it only forks; the warm-up is awaited below)
                [sys.executable, "-m", PROGRAM, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment_of(environment, launch.guard.url("engine") if launch.guard else None),
                start_new_session=True,
            )
        handle = cls(process, ours, errors)
        await handle._warm(launch)
        return handle

    @property
    def pid(self) -> int:
        return self._process.pid

    async def spawn(self) -> ChildProcess:
        """A new idle child. Raises ForkServerLost, or OSError where the system has no more to give."""
        if self.lost:
            raise ForkServerLost
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [Spawn().model_dump_json().encode()], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise ForkServerLost from error
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spawning.append(answer)
        return await self._adopt(answer, ours)

    async def close(self) -> None:
        """End it and all children; they are gone when this returns."""
        self._lose()
        if not await self._has_ended_within(_LEAVE_SECONDS):
            self._process.kill()
            await self._has_ended_within(_START_SECONDS)
        await asyncio.gather(*(child.kill() for child in self._children.values()))
        self._errors.close()

    async def _has_ended_within(self, seconds: float) -> bool:
        """Left alone it reaps its children first, so that none stays a zombie."""
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def _warm(self, launch: Launch) -> None:
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._read)
        try:
            self._control.send(launch.model_dump_json().encode())
            async with asyncio.timeout(_START_SECONDS):
                await self._ready
        except (TimeoutError, ForkServerLost, BrokenPipeError, ConnectionResetError) as error:
            reason = await asyncio.to_thread(self._last_words)
            await self.close()
            raise StartupError(f"The download engine does not start: {reason}") from error
        except BaseException:
            await self.close()
            raise

    async def _adopt(self, answer: asyncio.Future[int], ours: socket.socket) -> ChildProcess:
        try:
            async with asyncio.timeout(_SPAWN_SECONDS):
                pid = await asyncio.shield(answer)
        except TimeoutError as error:
            ours.close()
            self._lose()  # It hangs: a new one serves better.
            raise ForkServerLost from error
        except BaseException:
            ours.close()  # Its channel ends, so that a child that was forked after all leaves by itself.
            raise
        child = await ChildProcess.attach(pid, ours)
        if pid in self._unclaimed:
            child.has_exited(self._unclaimed.pop(pid))
        else:
            self._children[pid] = child
        return child

    def _read(self) -> None:
        while True:
            try:
                data = self._control.recv(_MAX_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lose()
                return
            self._take(CONTROL_REPLY.validate_json(data))

    def _take(self, reply: ControlReply) -> None:
        if isinstance(reply, Ready):
            self._ready.set_result(None)
        elif isinstance(reply, Spawned | Refused):
            self._answer_spawn(reply)
        else:
            child = self._children.pop(reply.pid, None)
            if child is not None:
                child.has_exited(reply.status)
            else:
                self._unclaimed[reply.pid] = reply.status

    def _answer_spawn(self, reply: Spawned | Refused) -> None:
        answer = self._spawning.popleft()
        if isinstance(reply, Spawned):
            answer.set_result(reply.pid)
        else:
            answer.set_exception(OSError(reply.errno, reply.reason))
            answer.exception()

    def _lose(self) -> None:
        """Its end is the end of its children: they are killed here too, in case they do not hear of it in time."""
        if self.lost:
            return
        self.lost = True
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        for child in self._children.values():
            kill_tree(child.pid)
            child.has_exited(-signal.SIGKILL)
        waiting: list[asyncio.Future[None] | asyncio.Future[int]] = [self._ready, *self._spawning]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(ForkServerLost())
                answer.exception()  # Nobody may be waiting any more; that is no reason to complain.

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it said nothing within {_START_SECONDS:.0f} s"
