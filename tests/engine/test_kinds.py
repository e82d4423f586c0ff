"""Every kind of failure, provoked for real where that is possible: in a real engine, behind its real guard."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import re
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import pytest_asyncio

from reelin.contracts.failures import REMEDIES, FailureKind
from reelin.contracts.options import Options
from reelin.engine.childprocess import ChildProcess
from reelin.engine.guard.process import GuardProcess
from reelin.engine.pool import EnginePool
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from reelin.workflows.policy import FAIL_AT_ONCE, policy_for
from tests.engine.provocations import PROVOCATIONS, Site
from tests.engine.running import STALL_SECONDS, Watched, bytes_reach, ignore, kill_at, task_for
from tests.engine.test_failures import SAID

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
#: Provoked by tests of their own below.
BY_THEMSELVES = frozenset(
    {
        FailureKind.DISK_FULL,
        FailureKind.INTERNAL,
        FailureKind.RESOURCES_EXHAUSTED,
        FailureKind.STORAGE_UNAVAILABLE,
    }
)
#: Only a site's own words say so; those in test_failures.py are real ones.
BY_WORDS = frozenset(
    {
        FailureKind.NOT_LIVE_YET,
        FailureKind.PRIVATE,
        FailureKind.AGE_RESTRICTED,
    }
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnginePool]:
    """Behind a guard that lets it reach this address only."""
    guard = GuardProcess((ipaddress.ip_network("127.0.0.1/32"),))
    engine = EnginePool(
        cookies_dir=tmp_path_factory.mktemp("cookies"), max_children=6, stall_seconds=STALL_SECONDS, guard=guard
    )
    await engine.start()
    yield engine
    await engine.close()


class Provoked:
    """All of them are under way from the beginning: what takes long is trying again in vain."""

    def __init__(self, pool: EnginePool, origin: Origin, site: Site, folder: Path) -> None:
        self._pool = pool
        self.tasks = {
            name: task_for(each.url(origin, site), folder / str(number), **each.options)
            for number, (name, each) in enumerate(PROVOCATIONS.items())
        }
        self._outcomes = {name: asyncio.create_task(self._fail(name)) for name in PROVOCATIONS}

    async def failure(self, name: str) -> MediaFailure:
        return await self._outcomes[name]

    async def settle(self) -> None:
        await asyncio.gather(*self._outcomes.values(), return_exceptions=True)

    async def _fail(self, name: str) -> MediaFailure:
        if PROVOCATIONS[name].resumed:
            await kill_at(self._pool, self.tasks[name], bytes_reach(50_000))
        with pytest.raises(MediaFailure) as caught:
            await self._pool.download(self.tasks[name], ignore)
        return caught.value


@pytest_asyncio.fixture(scope="module")
async def provoked(
    guarded: EnginePool, origin: Origin, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Provoked]:
    started = Provoked(guarded, origin, site, tmp_path_factory.mktemp("provoked"))
    yield started
    await started.settle()


@pytest.mark.parametrize("name", PROVOCATIONS)
async def test_a_provoked_failure_has_its_kind_and_the_sites_wait(provoked: Provoked, name: str) -> None:
    provocation, failure = PROVOCATIONS[name], await provoked.failure(name)
    assert failure.kind == provocation.kind, failure.message
    assert failure.message
    assert "Traceback" not in failure.message and provoked.tasks[name].scratch_dir not in failure.message
    if provocation.wait is None:
        assert failure.retry_after_seconds is None
    else:
        assert failure.retry_after_seconds is not None
        assert provocation.wait - 120 <= failure.retry_after_seconds <= provocation.wait


async def test_no_thread_begins_a_fragment_after_one_is_lost(provoked: Provoked, origin: Origin) -> None:
    name = "503 on a fragment"
    await provoked.failure(name)
    (key,) = parse_qs(urlsplit(provoked.tasks[name].url).query)["key"]
    asked = {record.path for record in origin.log if key in record.query and record.path.endswith(".ts")}
    assert len(asked) == Options().concurrent_fragments, asked


async def test_an_address_that_yt_dlp_has_to_escape_is_given_directly_all_the_same(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    # Two looks in each attempt, since the escaped address passes for a redirect; the first file is the second look's.
    url = origin.url_for("/file/300000/größe.mp4", rate=300_000, fail="403x9", skip=4)
    task = task_for(unquote(url), tmp_path)
    await kill_at(pool, task, bytes_reach(50_000))
    with pytest.raises(MediaFailure) as caught:
        await pool.download(task, ignore)
    assert caught.value.kind == FailureKind.FORBIDDEN
    assert [record.status for record in origin.requests(url)] == [200, 200, 206, 200, 403]


async def test_a_disk_that_fills_up_is_called_so_and_what_was_fetched_is_kept(
    pool: EnginePool, origin: Origin, mounted: Callable[[str], Path]
) -> None:
    disk = mounted("1m")
    with pytest.raises(MediaFailure) as caught:
        await pool.download(task_for(origin.url_for("/file/3000000/full.mp4"), disk / "job"), ignore)
    assert caught.value.kind == FailureKind.DISK_FULL
    assert (disk / "job" / "parts" / "media.mp4.part").stat().st_size > 500_000


async def test_a_disk_that_is_only_read_is_called_so(
    pool: EnginePool, origin: Origin, mounted: Callable[[str], Path]
) -> None:
    disk = mounted("1m")
    (disk / "job").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(MediaFailure) as caught:
        await pool.download(task_for(origin.url_for("/file/3000/read-only.mp4"), disk / "job"), ignore)
    assert caught.value.kind == FailureKind.STORAGE_UNAVAILABLE


async def test_a_process_that_dies_is_a_fault_of_ones_own(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    watched = Watched(pool, task_for(origin.url_for("/file/600000/dies.mp4", rate=300_000), tmp_path))
    await watched.reaches(bytes_reach(1))
    os.kill(watched.pid, signal.SIGKILL)
    with pytest.raises(MediaFailure) as caught:
        await watched.outcome
    assert caught.value.kind == FailureKind.INTERNAL


async def test_a_fork_server_that_has_no_file_left_makes_the_download_wait_and_works_on(pool: EnginePool) -> None:
    server = pool.fork_server_pid
    assert server is not None
    numbers = {int(each.name) for each in Path(f"/proc/{server}/fd").iterdir()}
    lowest_free = next(number for number in range(len(numbers) + 1) if number not in numbers)
    limits = resource.prlimit(server, resource.RLIMIT_NOFILE)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        with pytest.raises(MediaFailure) as caught:
            await pool._lease(fresh=True)
    finally:
        resource.prlimit(server, resource.RLIMIT_NOFILE, limits)
    assert caught.value.kind == FailureKind.RESOURCES_EXHAUSTED
    child = await pool._lease(fresh=True)
    assert pool.fork_server_pid == server
    child.dismiss()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN])
async def test_a_fork_that_is_refused_is_a_wait(pool: EnginePool, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    async def refused() -> ChildProcess:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pool, "_spawn", refused)
    with pytest.raises(MediaFailure) as caught:
        await pool._lease(fresh=True)
    assert caught.value.kind == FailureKind.RESOURCES_EXHAUSTED
    assert policy_for(FailureKind.RESOURCES_EXHAUSTED).attempts > 1000


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_is_provoked_has_a_remedy_and_a_documented_policy(kind: FailureKind) -> None:
    provoked = {provocation.kind for provocation in PROVOCATIONS.values()} | BY_THEMSELVES
    said = {FailureKind(kind) for kind, _, _ in SAID}
    assert kind in provoked or kind in BY_WORDS & said, "no test makes it happen"
    assert len(REMEDIES[kind]) > 20 and REMEDIES[kind].rstrip().endswith(".")
    row = documented_policies().get(kind)
    assert (row is None) == (policy_for(kind) == FAIL_AT_ONCE), "the document says something else than the policy"
    if row is not None:
        _agrees(row, kind)


def documented_policies() -> dict[FailureKind, str]:
    """Kind by kind what docs/architecture.md says; those that fail at once share its last row."""
    table = DOCUMENT.read_text(encoding="utf-8").partition("## Failures and what happens next")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    assert ("all others", "fail at once; the remedy says what to do") in rows
    return {FailureKind(name): row for names, row in rows for name in re.findall(r"`(\w+)`", names)}


def _agrees(row: str, kind: FailureKind) -> None:
    """The numbers of attempts, where there are some: "12, 12, 4 attempts" is for the kinds of one row in order."""
    found = re.search(r"((?:\d+, )*\d+) attempts", row)
    if found:
        assert str(policy_for(kind).attempts) in found[1].split(", ")
    if "once" in row:
        assert policy_for(kind).attempts == 2
