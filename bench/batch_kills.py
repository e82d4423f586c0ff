"""kill -9 in the middle of a long list: is every item there, once, and right?

    python bench/batch_kills.py [--items 500] [--kills 3] [--only up:everything] [--only worker+temporal] …

Each combination has a folder of its own, downloads one list, and is killed `--kills` times, at even steps of the way.
What is killed: in `reelin up`, everything at once, the program alone, Temporal's server or the engine's fork server;
where API, worker and Temporal's server are processes of their own on one SQLite database, each alone, in pairs, all.
What was killed is started again by whoever supervises it: Temporal and the fork server in `reelin up` by Reelin itself,
all else by this program.

- *lost*: items that are not completed, by the list's own counts and by its rows;
- *doubled*: files or publications beyond one for each item, and items that went out of the media server whole twice;
- *wrong*: files whose bytes are not the media server's;
- *again*: bytes that were sent twice, of all bytes: what a kill costs;
- *locked*: lines in the logs that say that the database was locked.

The exit status is 1 if anything is lost, doubled, wrong or locked.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import psutil
from harness import console, print_table

from reelin.embedded.ports import choose_port
from reelin.embedded.server import ServerPlan, find_temporal
from reelin.origin.any_origin import AnyOrigin
from reelin.origin.process import OriginProcess

SIZE = 60_000
RATE = 100_000
LOOK_SECONDS = 0.1
START_SECONDS = 60.0
TIMEOUT_SECONDS = 900.0
FINAL = {"completed", "partial", "failed", "cancelled"}


class Program:
    """One process with all that it starts. `ready` returns once it is of use."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / f"{name}.log"
        self._command, self._folder, self._environment = command, folder, environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )

    def kill(self, *, tree: bool = False) -> None:
        """kill -9; without `tree`, what it started has to notice."""
        if self._process is None:
            return
        victims = [psutil.Process(self.pid)] if self._process.poll() is None else []
        victims += victims[0].children(recursive=True) if victims and tree else []
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        self._process.wait(10)


class Deployment(Protocol):
    """How Reelin runs. `hit` kills, and starts again what nobody else would."""

    data_dir: Path

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def hit(self) -> None: ...
    def stop(self) -> None: ...
    def logs(self) -> list[Path]: ...


class Up:
    """`reelin up`: one program."""

    def __init__(self, folder: Path, target: str) -> None:
        self.data_dir = folder / "data"
        self._target = target
        self._program = Program("up", _reelin("up"), folder, _environment(self.data_dir))

    @property
    def url(self) -> str:
        return str(self._note()["url"])

    def start(self) -> None:
        self._program.start()
        _until(lambda: self._note().get("pid") == self._program.pid)

    def hit(self, target: str | None = None) -> None:
        """By default what was said at the beginning."""
        target = target or self._target
        if target in ("everything", "program"):
            self._program.kill(tree=target == "everything")
            self.start()
        else:
            self._part(target).kill()

    def stop(self) -> None:
        self._program.kill(tree=True)

    def logs(self) -> list[Path]:
        return [self._program.log]

    def _note(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads((self.data_dir / "up.json").read_text()))
        return {}

    def _part(self, target: str) -> psutil.Process:
        children = psutil.Process(self._program.pid).children()
        if target == "temporal":
            return next(each for each in children if each.name() == "temporal")
        return next(each for each in children if "reelin.engine.child" in each.cmdline())


class Apart:
    """`reelin serve`, `reelin worker` and a Temporal server, as an operator runs them."""

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
        self.data_dir = folder / "data"
        self._targets = targets
        port = choose_port(0).number
        self.url = f"http://127.0.0.1:{port}"
        plan = ServerPlan(find_temporal(), folder / "temporal", choose_port(0), choose_port(0))
        plan.folder.mkdir()
        self._address = ("127.0.0.1", plan.port.number)
        environment = _environment(self.data_dir) | {"TEMPORAL_ADDRESS": plan.address, "REELIN_PORT": str(port)}
        commands = {"temporal": plan.command(), "worker": _reelin("worker"), "api": _reelin("serve")}
        self._programs = {name: Program(name, each, folder, environment) for name, each in commands.items()}

    def start(self) -> None:
        self._start(list(self._programs))

    def hit(self) -> None:
        for name in self._targets:
            self._programs[name].kill()
        self._start(self._targets)

    def stop(self) -> None:
        for program in reversed(self._programs.values()):
            program.kill(tree=True)

    def logs(self) -> list[Path]:
        return [program.log for program in self._programs.values()]

    def _start(self, names: Sequence[str]) -> None:
        """Temporal first: a worker that finds none says so and ends."""
        for name in (each for each in self._programs if each in names):
            self._programs[name].start()
            if name == "temporal":
                _until(self._temporal_listens)
        _until(lambda: httpx.get(f"{self.url}/readyz", timeout=5).is_success)

    def _temporal_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(self._address) == 0


Way = Callable[[Path], Deployment]
_PARTS = ("api", "worker", "temporal")
WAYS: dict[str, Way] = {
    **{
        f"up:{part}": lambda folder, part=part: Up(folder, part)
        for part in ("everything", "program", "temporal", "fork-server")
    },
    **{
        "+".join(parts): lambda folder, parts=parts: Apart(folder, parts)
        for number in (1, 2, 3)
        for parts in itertools.combinations(_PARTS, number)
    },
}


@dataclass(frozen=True)
class Outcome:
    way: str
    items: int
    lost: int
    doubled: int
    wrong: int
    again_percent: float
    locked: int
    seconds: float

    @property
    def sound(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.locked)

    def row(self) -> tuple[str, ...]:
        counted = (self.items, self.lost, self.doubled, self.wrong)
        again = f"{self.again_percent:.1f} %"
        return (self.way, *(str(each) for each in counted), again, str(self.locked), f"{self.seconds:.0f}")


def run(way: str, origin: AnyOrigin, *, items: int, kills: int) -> Outcome:
    """One list in a fresh folder."""
    origin.clear_log()
    with tempfile.TemporaryDirectory(prefix="reelin-bench-") as name, running(WAYS[way](Path(name))) as deployment:
        began = time.monotonic()
        urls = [
            origin.url_for(f"/file/{SIZE}/{way.replace(':', '-')}-{each}.mp4", rate=RATE, key="batch")
            for each in range(items)
        ]
        answer = httpx.post(f"{deployment.url}/api/jobs", json={"urls": urls}, timeout=60).raise_for_status()
        batch_id = str(answer.json()["id"])
        for kill in range(kills):
            wanted = items * (kill + 1) // (kills + 1)
            _until(lambda wanted=wanted: completed(deployment.data_dir) >= wanted, within=TIMEOUT_SECONDS)
            deployment.hit()
        job = finished(deployment, batch_id)
        seconds = time.monotonic() - began
        return judge(way, origin, deployment, job, urls, seconds)


@contextlib.contextmanager
def running(deployment: Deployment) -> Iterator[Deployment]:
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


def completed(data_dir: Path) -> int:
    """Straight from the rows: the API may be away."""
    return int(_ask(data_dir, "SELECT count(*) FROM items WHERE state = 'completed'")[0][0])


def finished(deployment: Deployment, batch_id: str) -> dict[str, Any]:
    """The job as it ended."""
    found: dict[str, Any] = {}

    def over() -> bool:
        found.update(httpx.get(f"{deployment.url}/api/jobs/{batch_id}", timeout=30).raise_for_status().json())
        return found["state"] in FINAL

    _until(over, within=TIMEOUT_SECONDS)
    return found


def judge(
    way: str, origin: AnyOrigin, deployment: Deployment, job: dict[str, Any], urls: Sequence[str], seconds: float
) -> Outcome:
    rows = _ask(deployment.data_dir, "SELECT jobs.url, files.path FROM jobs JOIN files ON files.job_id = jobs.id")
    paths = dict(rows)
    media = deployment.data_dir / "media"
    there = [path for path in media.rglob("*.mp4") if ".reelin-scratch" not in path.parts]
    records = [record for record in origin.log if record.path.startswith("/file/")]
    whole = Counter(record.path for record in records if record.finished and record.bytes_sent >= SIZE)
    lost = max(len(urls) - job["counts"]["completed"], sum(url not in paths for url in urls))
    doubled = max(len(rows), len(there)) - len(paths) + sum(number > 1 for number in whole.values())
    wrong = sum(_sha256(media / path) != origin.sha256(urlsplit(url).path) for url, path in rows)
    sent = sum(record.bytes_sent for record in records)
    said = "\n".join(log.read_text(errors="replace") for log in deployment.logs())
    total = len(urls) * SIZE
    return Outcome(
        way, len(urls), lost, doubled, wrong, 100 * (sent - total) / total, said.lower().count("is locked"), seconds
    )


def _ask(data_dir: Path, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(data_dir / "reelin.db", timeout=30)) as database:
        return database.execute(query).fetchall()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def _reelin(command: str) -> list[str]:
    return [sys.executable, "-m", "reelin.cli", command]


def _environment(data_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("REELIN_", "TEMPORAL_"))}
    return kept | {
        "REELIN_DATA_DIR": str(data_dir),
        "REELIN_PORT": "0",
        "REELIN_EGRESS_ALLOW": "127.0.0.0/8",
        "REELIN_UNLIMITED_SITES": "127.0.0.1",
    }


def _until(condition: Callable[[], bool], *, within: float = START_SECONDS) -> None:
    """Whoever does not answer yet is asked again."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(httpx.TransportError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come to that")
        time.sleep(LOOK_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500, help="of each list")
    parser.add_argument("--kills", type=int, default=3, help="of each list, at even steps of the way")
    parser.add_argument("--only", action="append", choices=list(WAYS), help="these combinations instead of all")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    outcomes = []
    with (
        tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder,
        OriginProcess(Path(folder) / "origin") as origin,
    ):
        for way in wanted.only or WAYS:
            outcomes.append(run(way, origin, items=wanted.items, kills=wanted.kills))
            console.print(" ".join(outcomes[-1].row()), style="dim")
    columns = ("killed", "items", "lost", "doubled", "wrong", "again", "locked", "seconds")
    print_table(f"kill -9, {wanted.kills} times in each list", columns, [outcome.row() for outcome in outcomes])
    sys.exit(0 if all(outcome.sound for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
