"""A first download before the first fork, so that no child pays for what all of them share.

Importing yt-dlp is not enough: extractors compile their patterns, libraries import and certificates load when they
are first needed. So the fork server downloads a tenth of a second of silence from itself, through every step.
"""

from __future__ import annotations

import functools
import io
import os
import socket
import tempfile
import wave

from yt_dlp.downloader.external import FFmpegFD
from yt_dlp.networking import common

from reelin.contracts.options import Options
from reelin.engine.child.channel import Silence
from reelin.engine.child.extractors import Extractors
from reelin.engine.child.linux import lead_own_group_and_die_with
from reelin.engine.child.parameters import settle_process
from reelin.engine.child.task import run_download
from reelin.engine.child.tools import Tools
from reelin.engine.seam import DownloadTask
from reelin.engine.trees import kill_tree
from reelin.engine.wire import Launch

_PAGE = b"""<!DOCTYPE html><html><head><title>Silence</title><script type="application/ld+json">
{"@context": "https://schema.org", "@type": "VideoObject", "name": "Silence", "contentUrl": "/silence.wav"}
</script></head><body><video src="/silence.wav"></video></body></html>"""
#: A date, since what reads one is not loaded before.
_HEADERS = "Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\nConnection: close\r\n"


def warm_up(launch: Launch) -> Tools:
    settle_process(launch.ffmpeg)
    _share_certificates()
    tools = Tools(ffmpeg=launch.ffmpeg, extractors=Extractors(), guard=launch.guard)
    FFmpegFD.available()
    _download_silence(tools)
    return tools


def _share_certificates() -> None:
    """Reading the CA bundle takes 20 ms, for each YoutubeDL and each of its request handlers."""
    common.make_ssl_context = functools.cache(common.make_ssl_context)


def _download_silence(tools: Tools) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as scratch:
        server = _serve_in_a_fork(listener)
        try:
            for path in ("silence.wav", "page.html"):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/{path}"
                task = DownloadTask(job_id=path, url=url, scratch_dir=scratch, preset="best", options=Options())
                run_download(task, Silence(), tools, direct=True)
        finally:
            kill_tree(server)
            os.waitpid(server, 0)


def _serve_in_a_fork(listener: socket.socket) -> int:
    """Not in a thread: this process must stay single-threaded."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        lead_own_group_and_die_with(parent)
        while True:
            connection, _ = listener.accept()
            with connection:
                _answer(connection)
    return pid


def _answer(connection: socket.socket) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    kind, body = ("text/html", _PAGE) if request.startswith(b"GET /page.html ") else ("audio/wav", _silence())
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{_HEADERS}\r\n"
    connection.sendall(head.encode() + body)


def _silence() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    return buffer.getvalue()
