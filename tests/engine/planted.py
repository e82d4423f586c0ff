"""A fork server with one extractor more, which does what the URL says. A test puts it in place of the engine's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import TypeAdapter
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.globals import extractors as all_extractors

from reelin.contracts.model import Message
from reelin.engine.child import channel, warmup
from reelin.engine.child.extractors import Extractors
from reelin.engine.child.server import ForkServer
from reelin.engine.programs import find_deno
from reelin.engine.wire import Finished
from tests.engine.prey import Prey, what_works

HOST = "planted.invalid"


def url_for(deed: str, prey: Prey) -> str:
    return f"http://{HOST}/?{urlencode({'deed': deed, 'prey': prey.model_dump_json()})}"


def told(own: Path) -> list[str]:
    """What the deed in that job's folder left there."""
    return TypeAdapter(list[str]).validate_json((own / "told.json").read_bytes())


def _tell(prey: Prey, lines: list[str]) -> None:
    Path(prey.own, "told.json").write_text(json.dumps(lines))


def _try_everything(prey: Prey) -> None:
    _tell(prey, what_works(prey))


def _try_everything_in_the_main_thread(prey: Prey) -> None:
    """All threads share one memory: this is what code that runs inside Python can do."""
    honest = channel.line

    def line(message: Message) -> bytes:
        if isinstance(message, Finished):  # It is the main thread that says so.
            channel.line = honest
            _try_everything(prey)
        return honest(message)

    channel.line = line


def _eat_memory(prey: Prey) -> None:
    _tell(prey, [str(len(bytearray(1024**3)))])


def _swell(prey: Prey) -> None:
    with Path(prey.own, "swollen").open("wb") as file:
        file.truncate(1024**3)


def _swell_with_a_program(prey: Prey) -> None:
    done = subprocess.run(
        ["dd", "if=/dev/zero", f"of={prey.own}/swollen", "bs=1M", "count=64"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    _tell(prey, [str(done.returncode), done.stderr])


def _run_javascript(prey: Prey) -> None:
    script = "const f = Deno.makeTempFileSync(); localStorage.setItem('a', 'b'); console.log(6 * 7, f)"
    deno = subprocess.run(
        [str(find_deno()), "run", "--allow-all", "--location", "http://x.invalid", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    with tempfile.NamedTemporaryFile() as own:
        _tell(prey, [deno.stdout, deno.stderr, own.name, str(Path.home())])


DEEDS: dict[str, Callable[[Prey], None]] = {
    "try everything": _try_everything,
    "try everything in the main thread": _try_everything_in_the_main_thread,
    "eat memory": _eat_memory,
    "swell": _swell,
    "swell with a program": _swell_with_a_program,
    "run JavaScript": _run_javascript,
}


class PlantedIE(InfoExtractor):  # type: ignore[misc]
    _VALID_URL = rf"https?://{HOST}/\?(?P<id>.+)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        asked = parse_qs(urlsplit(url).query)
        prey = Prey.model_validate_json(asked["prey"][0])
        DEEDS[asked["deed"][0]](prey)
        return {"id": "planted", "title": "planted", "url": prey.media_url, "ext": "mp4", "direct": True}


def _with_planted() -> Extractors:
    return Extractors([PlantedIE])


if __name__ == "__main__":
    all_extractors.value[PlantedIE.__name__] = PlantedIE
    warmup.Extractors = _with_planted  # type: ignore[attr-defined]
    ForkServer(socket.socket(fileno=int(sys.argv[1]))).run()
