"""The sandbox: an extractor that tries what it can, in real children, and the same one without the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.engine import forkserver, landlock
from reelin.engine.child import server
from reelin.engine.child.tools import Tools
from reelin.engine.guard.process import GuardProcess
from reelin.engine.pool import EnginePool
from reelin.engine.programs import find_ffmpeg
from reelin.engine.wire import Launch, Limits
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.planted import told, url_for
from tests.engine.prey import Prey, attempts
from tests.engine.running import Watched, group, ignore, media_of, phase_is, task_for

LOOPBACK_ONE = (ipaddress.ip_network("127.0.0.1/32"),)
needs_landlock = pytest.mark.skipif(
    not landlock.available() and not os.environ.get("CI"), reason="this kernel has no Landlock (CI needs it)"
)


class House:
    """The machine of a user who has put everything where Reelin puts it, and what else must not be touched."""

    def __init__(self, folder: Path) -> None:
        self.home, self.data, self.media = folder / "home", folder / "data", folder / "media"
        self.scratch = self.media / ".reelin-scratch"
        self.jar = self._file(self.data / "cookies" / "other.txt")
        self.key = self._file(self.home / ".ssh" / "id_ed25519")
        self.database = self._file(self.data / "reelin.db")
        self.temporal = self._file(self.data / "temporal" / "temporal.db")
        self.video = self._file(self.media / "A video.mp4")
        self.other = self._file(self.scratch / "other-job" / "media.mp4.part")
        self.program = self._file(self.home / "program")
        self.program.write_text("#!/bin/sh\nexit 0\n")
        self.program.chmod(0o755)

    @staticmethod
    def _file(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"# Netscape HTTP Cookie File\n")
        return path

    def secrets(self) -> dict[str, str]:
        return {
            "a key": str(self.key),
            "the database": str(self.database),
            "Temporal's database": str(self.temporal),
            "a cookie jar": str(self.jar),
            "a finished video": str(self.video),
            "another job's bytes": str(self.other),
        }

    def folders(self, elsewhere: Path) -> dict[str, str]:
        return {
            "a home": str(self.home),
            "the data folder": str(self.data),
            "the media folder": str(self.media),
            "another job's folder": str(self.other.parent),
            "the scratch root": str(self.scratch),
            "a temporary folder": str(elsewhere),
        }


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house")


@pytest.fixture
def listeners(house: House) -> Iterator[dict[str, socket.socket]]:
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(house.home / "s"))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0reelin-test-{os.getpid()}")
        for listener in (unix, abstract):
            listener.listen(100)
        yield {"tcp": tcp, "udp": udp, "unix": unix, "abstract": abstract}


@pytest.fixture
def bystander() -> Iterator[int]:
    """A process of the same user."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def prey(house: House, listeners: dict[str, socket.socket], bystander: int, origin: Origin, tmp_path: Path) -> Prey:
    return Prey(
        media_url=origin.url_for("/clip.mp4"),
        secrets=house.secrets(),
        files={"another job's bytes": str(house.other), "the database": str(house.database)},
        folders=house.folders(tmp_path),
        program=str(house.program),
        ffmpeg=str(find_ffmpeg()),
        port=listeners["tcp"].getsockname()[1],
        datagrams=listeners["udp"].getsockname()[1],
        unix=str(house.home / "s"),
        abstract=f"reelin-test-{os.getpid()}",
        process=bystander,
        own=str(house.scratch / "own-job"),
    )


def refused_to_everyone() -> set[str]:
    """What this kernel does not allow to any program that is not root, or does not know."""
    refused = set()
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    if yama.exists() and yama.read_text().strip() != "0":
        refused |= {"trace a process", "open a process's memory"}
    multipath = Path("/proc/sys/net/mptcp/enabled")
    if not multipath.exists() or multipath.read_text().strip() != "1":
        refused.add("connect by multipath TCP")
    return refused


@contextlib.asynccontextmanager
async def planted(
    house: House, monkeypatch: pytest.MonkeyPatch, *, sandboxed: bool = True, limits: Limits | None = None
) -> AsyncIterator[EnginePool]:
    monkeypatch.setattr(forkserver, "PROGRAM", "tests.engine.planted")
    pool = EnginePool(
        cookies_dir=house.jar.parent,
        guard=GuardProcess(LOOPBACK_ONE),
        scratch_root=house.scratch if sandboxed else None,
        idle_children=1,
        max_children=1,
        limits=limits,
    )
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


@needs_landlock
async def test_a_planted_extractor_gets_nowhere(
    house: House, prey: Prey, monkeypatch: pytest.MonkeyPatch, origin: Origin
) -> None:
    own = Path(prey.own)
    async with planted(house, monkeypatch) as pool:
        downloaded = await pool.download(task_for(url_for("try everything", prey), own), ignore)
    assert told(own) == []
    assert media_of(downloaded, own) == origin.reference(prey.media_url)
    assert not [path for path in house.scratch.rglob("*") if path.is_symlink()]


async def test_without_the_sandbox_the_same_extractor_gets_everywhere(
    house: House, prey: Prey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with planted(house, monkeypatch, sandboxed=False) as pool:
        await pool.download(task_for(url_for("try everything", prey), Path(prey.own)), ignore)
    assert sorted(attempts(prey).keys() - told(Path(prey.own)) - refused_to_everyone()) == []


@needs_landlock
async def test_code_that_takes_over_the_whole_process_reaches_other_jobs_bytes_and_nothing_else(
    house: House, prey: Prey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a process that serves several jobs, put down so that it is not forgotten."""
    async with planted(house, monkeypatch) as pool:
        await pool.download(task_for(url_for("try everything in the main thread", prey), Path(prey.own)), ignore)
    worked = told(Path(prey.own))
    assert "overwrite another job's bytes" in worked
    assert not [name for name in worked if "another job's" not in name and "the scratch root" not in name]


@needs_landlock
async def test_the_next_job_of_the_same_child_has_its_own_folder_and_not_the_last_ones(
    house: House, prey: Prey, monkeypatch: pytest.MonkeyPatch, origin: Origin
) -> None:
    async with planted(house, monkeypatch) as pool:
        first = Watched(pool, task_for(origin.url_for("/dash/manifest.mpd"), house.scratch / "first"))
        await first.reaches(phase_is(Phase.DOWNLOADING))
        pid = first.pid
        await first.outcome
        next_prey = prey.model_copy(update={"secrets": {"the last job": str(house.scratch / "first" / "media.mp4")}})
        second = Watched(pool, task_for(url_for("try everything", next_prey), Path(prey.own)))
        await second.reaches(phase_is(Phase.DOWNLOADING))
        assert second.pid == pid
        downloaded = await second.outcome
    assert told(Path(prey.own)) == []
    assert media_of(downloaded, Path(prey.own)) == origin.reference(prey.media_url)


@needs_landlock
async def test_programs_keep_their_things_in_the_jobs_folder(
    house: House, prey: Prey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with planted(house, monkeypatch) as pool:
        await pool.download(task_for(url_for("run JavaScript", prey), Path(prey.own)), ignore)
    printed, complained, temporary, home = told(Path(prey.own))
    assert printed.startswith(f"42 {prey.own}/"), complained
    assert temporary.startswith(f"{prey.own}/")
    assert home == prey.own


@needs_landlock
async def test_a_cancel_ends_the_programs_of_a_sandboxed_child(origin: Origin, tmp_path: Path) -> None:
    slow = tmp_path / "slow-ffmpeg"
    slow.write_text(f'#!/bin/sh\ncase "$*" in *" -y "*|"-y "*) sleep 60 ;; esac\nexec {find_ffmpeg()} "$@"\n')
    slow.chmod(0o755)
    (tmp_path / "scratch").mkdir()
    pool = EnginePool(cookies_dir=tmp_path, idle_children=0, ffmpeg=slow, scratch_root=tmp_path / "scratch")
    await pool.start()
    try:
        watched = Watched(pool, task_for(origin.url_for("/hls/plain/master.m3u8"), tmp_path / "scratch" / "job"))
        await watched.reaches(phase_is(Phase.PROCESSING))
        pid = watched.pid
        while len(group(pid)) < 3:  # The child, the script, its sleep.
            await asyncio.sleep(0.01)
        watched.outcome.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watched.outcome
        assert not group(pid)
    finally:
        await pool.close()


@needs_landlock
async def test_children_that_were_started_before_the_disk_was_mounted_make_nothing_and_cost_no_job(
    house: House, monkeypatch: pytest.MonkeyPatch, origin: Origin
) -> None:
    task = task_for(origin.url_for("/file/100000/mounted-late.mp4"), house.scratch / "job")
    house.scratch.rename(house.scratch.with_name("unplugged"))
    async with planted(house, monkeypatch) as pool:
        async with asyncio.timeout(20):
            while not pool.idle_pids:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # time to do what must not be done
        assert not house.scratch.exists()
        house.scratch.with_name("unplugged").rename(house.scratch)
        assert media_of(await pool.download(task, ignore), house.scratch / "job") == origin.reference(task.url)


@needs_landlock
async def test_a_scratch_root_that_was_deleted_and_made_anew_costs_no_job(
    house: House, monkeypatch: pytest.MonkeyPatch, origin: Origin
) -> None:
    task = task_for(origin.url_for("/file/100000/anew.mp4"), house.scratch / "job")
    async with planted(house, monkeypatch) as pool:
        await pool.download(task, ignore)
        shutil.rmtree(house.scratch)
        house.scratch.mkdir()
        assert media_of(await pool.download(task, ignore), house.scratch / "job") == origin.reference(task.url)


async def test_memory_has_a_limit_and_the_failure_says_so(
    house: House, prey: Prey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with planted(house, monkeypatch, limits=Limits(memory_bytes=512 * 1024**2)) as pool:
        with pytest.raises(MediaFailure, match="more memory than a download may have") as failure:
            await pool.download(task_for(url_for("eat memory", prey), Path(prey.own)), ignore)
    assert failure.value.kind == FailureKind.INTERNAL


async def test_a_file_that_grows_beyond_all_bounds_is_too_large(
    house: House, prey: Prey, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(prey.own)
    async with planted(house, monkeypatch, limits=Limits(file_bytes=16 * 1024**2)) as pool:
        with pytest.raises(MediaFailure, match="File too large") as failure:
            await pool.download(task_for(url_for("swell", prey), own), ignore)
        await pool.download(task_for(url_for("swell with a program", prey), own), ignore)
    assert failure.value.kind == FailureKind.TOO_LARGE
    status, complained = told(own)
    assert status == "1"  # An error that it could tell, and not the end by a signal.
    assert "File too large" in complained


@needs_landlock
async def test_a_job_with_cookies_has_a_child_that_no_site_has_seen_and_nobody_gets_after_it(
    house: House, monkeypatch: pytest.MonkeyPatch, origin: Origin
) -> None:
    pids = []
    async with planted(house, monkeypatch) as pool:
        for name, options in (("before", {}), ("with", {"cookies": "other"}), ("after", {})):
            task = task_for(origin.url_for("/file/100000/cookies.mp4", rate=400_000), house.scratch / name, **options)
            watched = Watched(pool, task)
            await watched.reaches(phase_is(Phase.DOWNLOADING))
            pids.append(watched.pid)
            await watched.outcome
            assert not [path for path in house.scratch.rglob("*cookies*") if "media" not in path.name]
    assert pids[1] not in (pids[0], pids[2])


def test_an_old_kernel_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: landlock.OLDEST_ABI - 1)
    launch = Launch(ffmpeg="ffmpeg", scratch_root=str(tmp_path))
    assert server.sandbox_of(launch, Tools(ffmpeg="ffmpeg", extractors={})) is None


@needs_landlock
@pytest.mark.parametrize("version", range(landlock.OLDEST_ABI, landlock.abi() + 1))
def test_rules_for_every_version_of_the_kernel_are_taken_by_it(version: int, tmp_path: Path) -> None:
    """A newer kernel takes the older rules too, so that this one can try them all."""
    code = f"""
import errno, sys
from pathlib import Path
from reelin.engine import landlock
landlock.abi = lambda: {version}
own = Path(sys.argv[1])
rule = landlock.rule(str(own), landlock.Access.READ_FILE | landlock.Access.WRITE_FILE | landlock.Access.MAKE_REG)
landlock.restrict([rule], tcp_port=9)
(own / "file").write_text("x")
try:
    list(own.parent.iterdir())
except PermissionError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr
