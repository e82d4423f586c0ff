"""The fork server: a single-threaded process with yt-dlp loaded and warmed up, which forks one child per request.

It must stay single-threaded: a fork while another thread holds a lock (OpenSSL's, the allocator's) gives a child
that hangs for ever. When its control socket ends, the worker is gone, and so is every reason for a child to live.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
from pathlib import Path

from reelin.contracts.model import Message
from reelin.engine import landlock
from reelin.engine.child import limits, linux, warmup
from reelin.engine.child.sandbox import Sandbox
from reelin.engine.child.tools import Tools
from reelin.engine.child.worker import run_child
from reelin.engine.trees import kill_tree
from reelin.engine.wire import CONTROL, Exited, Launch, Ready, Refused, Spawned

_MAX_MESSAGE = 65536
#: Downloads give way to what people wait for: on busy cores it halves the slowest answers of the API.
NICENESS = 10


class ForkServer:
    """`children` are the pids that were forked here and not yet reaped."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._wakeup_read, self._wakeup_write = os.pipe()

    def run(self) -> None:
        launch, tools = self._prepare()
        try:
            while self._serve_once(launch, tools):
                pass
        finally:
            self._kill_children()

    def _prepare(self) -> tuple[Launch, Tools]:
        launch = CONTROL.validate_json(self._control.recv(_MAX_MESSAGE))
        if not isinstance(launch, Launch):
            raise TypeError(f"expected a launch message, got {launch.type}")
        linux.become_subreaper()
        os.nice(NICENESS)
        tools = warmup.warm_up(launch)
        # What is frozen is never touched by a child's collector, so its pages stay shared.
        gc.collect()
        gc.freeze()
        self._listen_for_exits()
        self._say(Ready())
        return launch, tools

    def _listen_for_exits(self) -> None:
        for end in (self._wakeup_read, self._wakeup_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C reaches the whole terminal; the worker decides when its downloads end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _serve_once(self, launch: Launch, tools: Tools) -> bool:
        """False when the worker is gone."""
        readable = select.select([self._control.fileno(), self._wakeup_read], [], [])[0]
        if self._wakeup_read in readable:
            os.read(self._wakeup_read, 4096)
        self._reap()
        if self._control.fileno() not in readable:
            return True
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _MAX_MESSAGE, 1)
        except ConnectionResetError:
            return False
        if not data:
            return False
        if descriptors:
            self._fork(descriptors[0], launch, tools)
        else:  # the kernel drops it where this process has no number left for it
            self._refuse(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        return True

    def _fork(self, channel: int, launch: Launch, tools: Tools) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(channel)
            self._refuse(error)
            return
        if pid == 0:
            self._become_child(parent, channel, launch, tools)
        os.close(channel)
        self._children.add(pid)
        self._say(Spawned(pid=pid))

    def _refuse(self, error: OSError) -> None:
        self._say(Refused(errno=error.errno or errno.EAGAIN, reason=error.strerror or str(error)))

    def _become_child(self, parent: int, channel: int, launch: Launch, tools: Tools) -> None:
        """Never returns: a child must not run the fork server's own code on its way out."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            os.close(self._wakeup_read)
            os.close(self._wakeup_write)
            linux.lead_own_group_and_die_with(parent)
            limits.enforce(launch.limits)
            run_child(socket.socket(fileno=channel), tools, sandbox_of(launch, tools))
            status = 0
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Kill what a dead child left behind, and only then give its pid free: until then nobody else can have it."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            if dead.si_pid in self._children:
                kill_tree(dead.si_pid)
            _, status = os.waitpid(dead.si_pid, 0)
            if dead.si_pid in self._children:
                self._children.discard(dead.si_pid)
                self._say(Exited(pid=dead.si_pid, status=os.waitstatus_to_exitcode(status)))

    def _kill_children(self) -> None:
        """And reap them, with what they had started: a container may have nobody else who does."""
        for pid in self._children:
            kill_tree(pid)
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            pass

    def _say(self, message: Message) -> None:
        try:
            self._control.send(message.model_dump_json().encode())
        except (BrokenPipeError, ConnectionResetError):
            pass  # The worker is gone; the end of the control socket says so next.


def sandbox_of(launch: Launch, tools: Tools) -> Sandbox | None:
    """For the process that calls it, from then on; None where the kernel cannot, or where none was asked for."""
    if launch.scratch_root is None or not landlock.available():
        return None
    return Sandbox(Path(launch.scratch_root), tools)
