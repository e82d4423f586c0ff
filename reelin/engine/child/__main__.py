"""`python -m reelin.engine.child FD`: a fork server whose control socket is file descriptor FD."""

from __future__ import annotations

import socket
import sys

from reelin.engine.child.server import ForkServer

if __name__ == "__main__":
    ForkServer(socket.socket(fileno=int(sys.argv[1]))).run()
