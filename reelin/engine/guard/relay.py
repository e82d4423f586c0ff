"""Bytes from one socket to another, with no more of them in memory than one buffer: a slow reader slows the sender."""

from __future__ import annotations

import asyncio
import socket

from reelin.engine.guard.heads import MAX_HEAD, answer_for_client, end_of_head, is_answer, is_interim

_DOWN_BYTES = 256 * 1024
_UP_BYTES = 32 * 1024
_LINGER_SECONDS = 1.0


class PlainAnswer:
    """An answer over plain HTTP, whose head is rewritten on its way. `bodiless`: the request was HEAD."""

    def __init__(self, *, bodiless: bool) -> None:
        self._bodiless = bodiless

    async def pass_head(self, server: socket.socket, client: socket.socket) -> bool:
        """Returns whether the rest goes on in chunks. What is no HTTP goes on as it is."""
        loop = asyncio.get_running_loop()
        data = b""
        while True:
            while (end := end_of_head(data)) is None:
                more = await loop.sock_recv(server, MAX_HEAD) if len(data) <= MAX_HEAD else b""
                if not more:
                    await loop.sock_sendall(client, data)
                    return False
                data += more
            head, data = data[:end], data[end:]
            if is_interim(head):
                await loop.sock_sendall(client, head)
                continue
            chunked = False
            if is_answer(head):
                head, chunked = answer_for_client(head, bodiless=self._bodiless)
            await loop.sock_sendall(client, head + (_chunk(data) if chunked and data else data))
            return chunked


async def relay(
    client: socket.socket, server: socket.socket, *, send_first: bytes, answer: PlainAnswer | None = None
) -> None:
    """Until one of the two hangs up. `send_first` goes to the server before what the client sends."""
    up = asyncio.create_task(_up(client, server, send_first))
    down = asyncio.create_task(_down(server, client, answer))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _up(client: socket.socket, server: socket.socket, send_first: bytes) -> None:
    if send_first:
        await asyncio.get_running_loop().sock_sendall(server, send_first)
    await _pump(client, server, _UP_BYTES)


async def _down(server: socket.socket, client: socket.socket, answer: PlainAnswer | None) -> None:
    if answer is not None and await answer.pass_head(server, client):
        await _pump_in_chunks(server, client)
    else:
        await _pump(server, client, _DOWN_BYTES)


async def _pump(source: socket.socket, target: socket.socket, size: int) -> None:
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(size))
    while count := await loop.sock_recv_into(source, buffer):
        await loop.sock_sendall(target, buffer[:count])


async def _pump_in_chunks(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _DOWN_BYTES):
        await loop.sock_sendall(target, _chunk(data))
    await loop.sock_sendall(target, b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def hang_up(client: socket.socket) -> None:
    """After an answer of our own: a client that still sends would lose it to a reset."""
    loop = asyncio.get_running_loop()
    try:
        client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER_SECONDS):
            while await loop.sock_recv(client, _UP_BYTES):
                pass
    except OSError:  # TimeoutError too: it has had its time.
        pass
