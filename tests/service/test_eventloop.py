"""A disk may take seconds for anything; an event loop that waits for it costs every heartbeat."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.service.eventloop import FOLDERS, OUTPUT
from tests.service.service import Service


def test_nothing_touches_a_file_on_an_event_loop(
    new_service: Callable[..., Service], origin: Origin, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    service = new_service(program="tests.service.eventloop", **{OUTPUT: str(touched), FOLDERS: str(tmp_path)})
    service.start()
    began = touched.stat().st_size if touched.exists() else 0
    _do_everything(service, origin)
    assert touched.read_text()[began:] == ""


def test_the_watch_sees_what_is_touched(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    program = (
        "import asyncio, os, pathlib, shutil, sys\n"
        "from tests.service.eventloop import watch\n"
        "watch()\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "async def touch():\n"
        "    (folder / 'one').write_text('x'); (folder / 'one').exists(); os.link(folder / 'one', folder / 'two')\n"
        "    (folder / 'two').unlink(); (folder / 'three').mkdir(); shutil.rmtree(folder / 'three')\n"
        "    await asyncio.to_thread((folder / 'quiet').write_text, 'x')\n"
        "asyncio.run(touch())\n"
        "(folder / 'quiet').read_text()\n"
    )
    output = tmp_path / "touched"
    environment = {**os.environ, OUTPUT: str(output), FOLDERS: str(tmp_path / "files")}
    (tmp_path / "files").mkdir()
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "files")], env=environment, check=True)
    said = output.read_text()
    calls = [line.split()[0] for line in said.splitlines()]
    for expected in ("open", "stat", "os.link", "os.remove", "os.mkdir", "shutil.rmtree"):
        assert expected in calls, calls
    assert "quiet" not in said, "threads, and what runs without a loop, do not count"


def _do_everything(service: Service, origin: Origin) -> None:
    """Downloads of each kind and ends of each kind, and what people ask of the library."""
    done = service.wait(service.submit(origin.url_for("/file/300000/loop-one")).id)
    assert done.state is State.COMPLETED and done.result is not None
    slow = service.submit(origin.url_for("/file/3000000/loop-slow", rate=500_000))
    service.wait_until(slow.id, percent=5)
    service.act("cancel", slow.id)
    assert service.wait(slow.id).state is State.CANCELLED
    for path, kind in (("/feed/3.rss?size=120000&name=loop", "playlist"), ("/file/30000/loop-info", "info")):
        assert service.wait(service.submit(origin.url + path, kind=kind).id).state is State.COMPLETED
    urls = [origin.url_for(f"/file/30000/loop-{number}") for number in range(3)]
    assert service.wait(service.submit_list(urls).id).state is State.COMPLETED
    assert service.wait(service.submit(origin.url_for("/file/300000/loop-one"), force=True).id).state is State.COMPLETED
    file = done.result["files"][0]
    assert len(service.api.get(file["url"]).content) == 300_000
    assert service.api.get(file["url"], headers={"Range": "bytes=5-9"}).status_code == 206
    service.path_of(done).unlink()
    assert service.api.get(file["url"]).status_code == 404
    video = f"/api/videos/{done.result['video_id']}"
    assert service.api.get(video).json()["state"] == "missing"
    assert service.wait(service.submit(origin.url_for("/file/300000/loop-one")).id).state is State.COMPLETED
    assert service.api.get("/readyz").status_code == 200
    assert service.api.get("/api/stats").json()["disk"]["free_bytes"] > 0
    assert service.api.delete(video, params={"files": True}).status_code == 204
