"""A small HTTP/1.1 client on bare sockets: on two cores, a comfortable one would measure itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """One kept-alive connection; one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80

    async def __aenter__(self) -> Connection:
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        status, headers = await self._head()
        return status, await self.reader.readexactly(int(headers[b"content-length"]))

    async def get(self, path: str) -> tuple[int, bytes]:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        status, headers = await self._head()
        return status, await self.reader.readexactly(int(headers[b"content-length"]))

    async def stream(self, path: str) -> None:
        """Asks for Server-Sent Events; read them with `data_line`."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: text/event-stream\r\n\r\n".encode())
        status, _ = await self._head()
        if status != 200:
            raise RuntimeError(f"{path} answered {status}")

    async def data_line(self) -> bytes | None:
        """The next `data:` of the stream; None at its end. Chunk sizes are lines too, and are passed over."""
        while line := await self.reader.readline():
            if line.startswith(b"data: "):
                return line[6:].rstrip()
            if line == b"0\r\n":
                return None
        return None

    async def _head(self) -> tuple[int, dict[bytes, bytes]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        pairs = (line.split(b":", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), {name.lower(): value.strip() for name, value in pairs}
