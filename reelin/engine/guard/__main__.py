"""`python -m reelin.engine.guard LISTENER CONTROL`: the proxy, on two sockets that it inherits.

CONTROL brings one line (`Charge`), is answered with one when the proxy serves, and ends when the worker does:
however that dies, no guard outlives it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys

import uvloop

from reelin.engine.guard.charge import READY, Charge
from reelin.engine.guard.dial import Dialer
from reelin.engine.guard.proxy import Proxy

#: As nice as the downloads that it serves (engine/child/server.py).
_NICENESS = 10
#: Names are looked up in threads, and a slow name server must not hold up everyone.
_LOOKUPS_AT_ONCE = "64"


async def _serve(listener: socket.socket, control: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=control)
    charge = Charge.model_validate_json(await reader.readline())
    serving = asyncio.create_task(Proxy(Dialer(charge.allowed), charge.token).serve(listener))
    writer.write(READY)
    try:
        await reader.read()
    finally:
        serving.cancel()
        writer.close()


def main() -> None:
    os.nice(_NICENESS)
    os.environ["UV_THREADPOOL_SIZE"] = _LOOKUPS_AT_ONCE
    # Ctrl-C reaches the whole terminal; the worker decides when its downloads end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener, control = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    uvloop.run(_serve(listener, control))


if __name__ == "__main__":
    main()
