"""What does the egress guard cost?

    python bench/guard.py [--megabytes 500]

One file over plain HTTP from the loopback media server, three times each way; the best counts. The client only reads.
The media server, the guard and the client share the machine's cores, so this is the guard's worst case.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import socket
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

from harness import console, print_table

from reelin.engine.guard.process import GuardProcess
from reelin.origin.process import OriginProcess

_ROUNDS = 3


def fetch(server: str, head: str, size: int) -> float:
    """Megabytes per second."""
    host, port = server.split(":")
    buffer = bytearray(1024 * 1024)
    began = time.perf_counter()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())
        received = 0
        while count := connection.recv_into(buffer):
            received += count
    if received < size:
        raise RuntimeError(f"{received} bytes of {size} arrived: {bytes(buffer[:200])!r}")
    return received / 1e6 / (time.perf_counter() - began)


async def measure(origin: OriginProcess, size: int) -> list[tuple[str, list[float]]]:
    guard = GuardProcess((ipaddress.ip_network("127.0.0.1/32"),))
    await guard.start()
    try:
        server, path = urlsplit(origin.url).netloc, f"/file/{size}/x.mp4"
        credentials = b64encode(f"bench:{guard.token}".encode()).decode()
        onward = f"Host: {server}\r\nConnection: close\r\n"
        ways = [
            ("direct", server, f"GET {path} HTTP/1.1\r\n{onward}\r\n"),
            (
                "through the guard",
                guard.address,
                f"GET http://{server}{path} HTTP/1.1\r\n{onward}Proxy-Authorization: Basic {credentials}\r\n\r\n",
            ),
        ]
        return [
            (name, [await asyncio.to_thread(fetch, address, head, size) for _ in range(_ROUNDS)])
            for name, address, head in ways
        ]
    finally:
        await guard.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    size = parser.parse_args().megabytes * 1_000_000
    with (
        tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder,
        OriginProcess(Path(folder) / "origin") as origin,
    ):
        console.print("fetching …", style="dim")
        results = asyncio.run(measure(origin, size))
    rows = [(name, f"{max(rates):.0f} MB/s", ", ".join(f"{rate:.0f}" for rate in rates)) for name, rates in results]
    print_table(f"guard: one plain HTTP transfer of {size / 1e6:.0f} MB on loopback", ("", "best", "all"), rows)


if __name__ == "__main__":
    main()
