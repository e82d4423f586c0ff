"""Room on the disk is promised once, whoever asks, and comes back from the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reelin.engine.claims import Claim, Ledger, NoRoom
from reelin.engine.disk import Disk, Room, amount

_HOLDER = """
import sys
from pathlib import Path
from reelin.engine.claims import Ledger
from reelin.engine.disk import Room
claim = Ledger(Path(sys.argv[1])).claim()
claim.resize(600, lambda: Room(1000, 0))
print("claimed", flush=True)
sys.stdin.read()
"""


def room(free: int = 1000, low_water: int = 0) -> Room:
    return Room(free, low_water)


def fits(claim: Claim, n_bytes: int) -> bool:
    try:
        claim.resize(n_bytes, room)
    except NoRoom:
        return False
    return True


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / ".claims")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another worker's process, which has claimed 600 of 1000 bytes."""
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / ".claims")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()


def test_two_downloads_cannot_count_on_the_same_room(ledger: Ledger) -> None:
    first, second = ledger.claim(), ledger.claim()
    first.resize(600, room)
    with pytest.raises(NoRoom) as refusal:
        second.resize(600, room)
    assert refusal.value.usable == 400
    first.resize(400, room)  # Its bytes arrive.
    second.resize(600, room)


def test_what_stays_free_is_nobodys_to_claim(ledger: Ledger) -> None:
    claim = ledger.claim()
    with pytest.raises(NoRoom) as refusal:
        claim.resize(901, lambda: room(low_water=100))
    assert refusal.value.usable == 900
    claim.resize(900, lambda: room(low_water=100))


def test_a_claim_that_cannot_grow_stays_as_it_was(ledger: Ledger) -> None:
    first, second = ledger.claim(), ledger.claim()
    first.resize(500, room)
    second.resize(400, room)
    assert not fits(first, 700)
    assert not fits(second, 501)
    assert fits(second, 500)


def test_a_released_claim_is_gone_and_stays_so(ledger: Ledger, tmp_path: Path) -> None:
    claim = ledger.claim()
    claim.resize(1000, room)
    claim.release()
    claim.resize(1000, room)  # A look that was under way when the download ended.
    assert [path.name for path in (tmp_path / ".claims").iterdir()] == ["lock"]
    assert fits(ledger.claim(), 1000)


def test_another_workers_claim_counts_until_it_is_killed(
    ledger: Ledger, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    claim = ledger.claim()
    assert not fits(claim, 600)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert fits(claim, 600)
    assert len(list((tmp_path / ".claims").glob("claim-*"))) == 1


def test_of_many_that_ask_at_once_as_many_are_served_as_there_is_room_for(ledger: Ledger) -> None:
    claims = [ledger.claim() for _ in range(40)]
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(fits, claims, [100] * 40)) == 10


@pytest.mark.parametrize(
    ("setting", "total", "low_water"),
    [(None, 10**12, 10**9), (None, 10**9, 50_000_000), (0, 10**12, 0), (5 * 10**9, 10**9, 5 * 10**9)],
)
def test_a_small_disk_keeps_a_twentieth_free_unless_told_otherwise(
    setting: int | None, total: int, low_water: int
) -> None:
    assert Disk(Path("/"), setting)._low_water(total) == low_water


def test_a_disk_is_looked_at_before_its_folder_is_made(tmp_path: Path) -> None:
    assert Disk(tmp_path / "not" / "there").room().free > 0


def test_amounts_are_in_decimal_units() -> None:
    assert [amount(n) for n in (999, 1000, 999_999, 4_100_000_000)] == ["999 bytes", "1.0 kB", "1.0 MB", "4.1 GB"]
