"""A child's life: take a task from the channel, run it, say how it ended, until the worker closes the channel.

Each task has a thread of its own, because a thread can give up rights that the next task needs again. Programs that a
task starts are as restricted as its thread. Code that a site managed to run inside Python could make the main thread
act for it: then the sandbox of the process is what holds it.
"""

from __future__ import annotations

import os
import socket
import threading
import traceback
from dataclasses import replace
from pathlib import Path

from reelin.contracts.failures import FailureKind
from reelin.engine.child.channel import Channel
from reelin.engine.child.listing import run_expand
from reelin.engine.child.sandbox import Sandbox, settle_programs_in
from reelin.engine.child.task import run_download, run_extract
from reelin.engine.child.tools import Tools
from reelin.engine.wire import Failed, Finished, Order, Playlist
from reelin.errors import MediaFailure, PlaylistFound


def run_child(connection: socket.socket, tools: Tools, sandbox: Sandbox | None) -> None:
    """Leaves without an answer if it cannot work any more; a new child will."""
    _silence()
    channel = Channel(connection)
    for order in channel.orders():
        if sandbox is not None and sandbox.outdated:
            return
        channel.say(_answer_of_a_thread(order, channel, replace(tools, cookies=order.cookies), sandbox))


def _answer_of_a_thread(order: Order, channel: Channel, tools: Tools, sandbox: Sandbox | None) -> Finished | Failed:
    answers: list[Finished | Failed] = []
    thread = threading.Thread(target=lambda: answers.append(_answer(order, channel, tools, sandbox)), name="task")
    thread.start()
    thread.join()
    return answers[0]


def _answer(order: Order, channel: Channel, tools: Tools, sandbox: Sandbox | None) -> Finished | Failed:
    """Every exception becomes an answer: a child that ends without one costs a fork and says nothing."""
    try:
        folder = Path(order.task.scratch_dir)
        settle_programs_in(folder)
        if sandbox is not None:
            sandbox.narrow(folder)
        if order.download is not None:
            return Finished(downloaded=run_download(order.download, channel, tools))
        if order.extract is not None:
            return Finished(extracted=run_extract(order.extract, channel, tools))
        if order.expand is not None:
            return Finished(listing=run_expand(order.expand, channel, tools))
        raise AssertionError  # `task` has looked.
    except PlaylistFound as found:
        return Finished(playlist=Playlist(title=found.title, count=found.count))
    except MediaFailure as failure:
        return _failed(failure)
    except BaseException as error:  # noqa: BLE001  (the last door of the process: what passes it is lost)
        text = f"{type(error).__name__} in the engine"
        return _failed(MediaFailure(FailureKind.INTERNAL, text, detail="".join(traceback.format_exception(error))))


def _failed(failure: MediaFailure) -> Failed:
    trace = "".join(traceback.format_exception(failure)) if failure.__cause__ else None
    return Failed(
        kind=failure.kind,
        message=failure.message,
        retry_after_seconds=failure.retry_after_seconds,
        detail=failure.detail or trace,
    )


def _silence() -> None:
    """Extractors and libraries print now and then; only the channel is read by anyone."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
