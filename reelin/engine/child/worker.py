"""A child's life: take a task from the channel, run it, say how it ended, until the worker closes the channel."""

from __future__ import annotations

import os
import socket
import traceback

from reelin.contracts.failures import FailureKind
from reelin.engine.child.channel import Channel
from reelin.engine.child.listing import run_expand
from reelin.engine.child.task import run_download, run_extract
from reelin.engine.child.tools import Tools
from reelin.engine.wire import Failed, Finished, Order, Playlist
from reelin.errors import MediaFailure, PlaylistFound


def run_child(connection: socket.socket, tools: Tools) -> None:
    _silence()
    channel = Channel(connection)
    for order in channel.orders():
        channel.say(_answer(order, channel, tools))


def _answer(order: Order, channel: Channel, tools: Tools) -> Finished | Failed:
    """Every exception becomes an answer: a child that ends without one costs a fork and says nothing."""
    try:
        if order.download is not None:
            return Finished(downloaded=run_download(order.download, channel, tools))
        if order.extract is not None:
            return Finished(extracted=run_extract(order.extract, channel, tools))
        if order.expand is not None:
            return Finished(listing=run_expand(order.expand, channel, tools))
        raise ValueError("the order is empty")
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
