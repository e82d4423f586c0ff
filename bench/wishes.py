"""Pause, resume, cancel, retry, priority, delete in any order, at any pace: is every job where the last wish says?

    python bench/wishes.py [--sequences 500] [--at-once 25] [--seed 1] [--within 5] [--no-kills]

Each sequence has a single job or a list of its own and two to eight wishes, 0 to 200 ms apart; as many sequences as
`--at-once` says are under way together, on one `reelin up`. In three rounds of four something is killed meanwhile:
everything, the program alone, or Temporal's server. A request that gets no answer is sent again.

Then every job has to be where its last wish says, `--within` seconds after the last wish or after the service is up
again: paused, cancelled (or through before), gone, or on its way. At last what is paused is resumed, and whatever is
not cancelled has to arrive.

- *late*: it was where it should be, after more than that;
- *stuck*: it never was, or it did not come to its end.

The exit status is 1 if anything is stuck or late.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

import httpx
from batch_kills import Up
from harness import console, percentile, print_table

from reelin.contracts.jobs import FINAL_STATES, State
from reelin.origin.any_origin import AnyOrigin
from reelin.origin.process import OriginProcess

SIZE = 240_000
RATE = 160_000
ITEMS = 4
#: The second site needs leases.
HOSTS = ("127.0.0.1", "127.0.0.1", "localhost")
VICTIMS = ("everything", "program", "temporal")
LOOK_SECONDS = 0.1
#: What is not where it should be by then never will be.
PATIENCE_SECONDS = 60.0
#: From the last word to the end of a job that only has to be downloaded.
DRAIN_SECONDS = 90.0
UNANSWERED_SECONDS = 60.0
UNFINISHED = tuple(str(state) for state in State if state not in FINAL_STATES)


class Expected(StrEnum):
    """What somebody who made these wishes counts on."""

    RUNS = "runs"  #: It arrives without another word.
    PAUSED = "paused"
    CANCELLED = "cancelled"  #: Or it was through before.
    GONE = "gone"
    OPEN = "open"  #: A word had no answer, and can have meant two things: it must not stand still.


_ALLOWED = {
    Expected.RUNS: {State.QUEUED, State.RUNNING, State.WAITING, State.COMPLETED},
    Expected.PAUSED: {State.PAUSED, State.COMPLETED},
    Expected.CANCELLED: {State.CANCELLED, State.COMPLETED},
    Expected.OPEN: set(State),
}


@dataclass
class Answer:
    status: int
    body: dict[str, Any]
    again: bool  #: An earlier request had no answer: it may have been carried out.


class Client:
    """The address changes with every start. What is not answered is asked again."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self._http = httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=60))

    async def send(self, method: str, path: str, **json: Any) -> Answer:
        deadline, again = time.monotonic() + UNANSWERED_SECONDS, False
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._http.request(method, f"{self._up.url}{path}", json=json or None)
                if answer.status_code != 503:
                    body = answer.json() if answer.content else {}
                    return Answer(answer.status_code, body, again)
            again = True
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path} was never answered")
            await asyncio.sleep(LOOK_SECONDS)

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """None if it is gone."""
        answer = await self.send("GET", f"/api/jobs/{job_id}")
        return None if answer.status == 404 else answer.body

    async def items(self, job_id: str) -> list[dict[str, Any]]:
        answer = await self.send("GET", f"/api/jobs?parent={job_id}&sort=position&limit=100")
        return list(answer.body["items"])

    async def close(self) -> None:
        await self._http.aclose()


@dataclass
class Wished:
    """One job or list, the wishes for it, and what they come to."""

    number: int
    random: Random
    urls: tuple[str, ...]
    job_id: str = ""
    expected: Expected = Expected.RUNS
    items: dict[str, Expected] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    ended_at: float = 0.0
    seconds: float = 0.0
    fault: str = ""

    @property
    def is_list(self) -> bool:
        return len(self.urls) > 1

    def story(self) -> str:
        what = "list" if self.is_list else "single"
        return f"{self.number} ({what}, {self.urls[0].split('/')[2].split(':')[0]}): {' '.join(self.said)}"

    async def submit(self, client: Client) -> Answer:
        body = {"urls": list(self.urls)} if self.is_list else {"url": self.urls[0]}
        answer = await client.send("POST", "/api/jobs", **body)
        assert answer.status in (200, 202), answer
        self.job_id = answer.body["id"]
        return answer

    async def make_wishes(self, client: Client) -> None:
        began = time.monotonic()
        await self.submit(client)
        if self.is_list:
            self.items = {item["id"]: Expected.RUNS for item in await client.items(self.job_id)}
        await asyncio.sleep(self.random.choice((0, self.random.uniform(0, 0.3), self.random.uniform(0.5, 1.5))))
        for _ in range(self.random.randint(2, 8)):
            target = self.job_id
            if self.is_list and self.random.random() < 0.25:
                target = self.random.choice(sorted(self.items))
            word = self._word(target)
            self.said.append(f"{time.monotonic() - began:.2f}s")
            answer = await self._say(client, word, target)
            self.said.append(f"{word}{'' if target == self.job_id else '-item'}={answer.status}{'?' * answer.again}")
            self._expect(word, target, answer)
            await asyncio.sleep(self.random.choice((0, self.random.uniform(0, 0.05), self.random.uniform(0, 0.2))))
        self.ended_at = time.monotonic()

    def _word(self, target: str) -> str:
        expected = self.expected if target == self.job_id else self.items[target]
        if expected is Expected.GONE:
            return "submit" if not self.is_list else "delete"
        words = {"pause": 8, "resume": 8, "cancel": 2, "retry": 2, "priority": 1}
        if target == self.job_id:
            words["delete"] = 1
            if not self.is_list:
                words["submit"] = 1
        if expected is Expected.PAUSED:
            words["resume"] = 20
        return self.random.choices(list(words), list(words.values()))[0]

    async def _say(self, client: Client, word: str, target: str) -> Answer:
        if word == "submit":
            return await self.submit(client)
        if word == "delete":
            return await client.send("DELETE", f"/api/jobs/{target}")
        if word == "priority":
            return await client.send("PATCH", f"/api/jobs/{target}", priority=self.random.randint(1, 5))
        return await client.send("POST", f"/api/jobs/{target}/{word}")

    def _expect(self, word: str, target: str, answer: Answer) -> None:
        if target == self.job_id:
            before, self.expected = self.expected, _after(word, self.expected, answer)
            if self.expected is not before or word == "retry":
                self.items = {each: _with_list(word, self.items[each], answer) for each in self.items}
        else:
            self.items[target] = _after(word, self.items[target], answer)
            if word == "retry" and answer.status == 202 and self.expected is Expected.CANCELLED:
                self.expected = Expected.OPEN

    # What came of it.

    async def check(self, client: Client) -> str:
        """What is not as it should be."""
        job = await client.job(self.job_id)
        if (job is None) is not (self.expected is Expected.GONE):
            return f"{self.expected}, but it is {job and job['state']}"
        if job is None:
            return ""
        allowed = _ALLOWED[self.expected] | ({State.PARTIAL, State.CANCELLED} if self.is_list else set())
        if job["state"] not in allowed:
            return f"{self.expected}, but it is {job['state']}"
        return await self._check_items(client, job) if self.is_list else ""

    async def _check_items(self, client: Client, job: dict[str, Any]) -> str:
        counts, items = job["counts"], await client.items(self.job_id)
        if self.expected is Expected.PAUSED and job["state"] == State.PAUSED and counts["running"] + counts["waiting"]:
            return f"paused, but its items are {_shown(counts)}"
        if self.expected is Expected.CANCELLED and any(counts[state] for state in UNFINISHED):
            return f"cancelled, but its items are {_shown(counts)}"
        for item in items:
            expected = self.items.get(item["id"], Expected.OPEN)
            if expected is Expected.CANCELLED and item["state"] not in _ALLOWED[expected]:
                return f"an item that was cancelled is {item['state']}"
        return ""

    async def let_go(self, client: Client) -> None:
        """Everybody takes his pauses back."""
        if self.expected is Expected.GONE:
            return
        await client.send("POST", f"/api/jobs/{self.job_id}/resume")
        for item in self.items:
            await client.send("POST", f"/api/jobs/{item}/resume")

    async def through(self, client: Client) -> str:
        """What is not over, or not as its end should be."""
        job = None if self.expected is Expected.GONE else await client.job(self.job_id)
        if job is None:
            return ""
        if job["state"] in UNFINISHED:
            return f"it does not end: {job['state']} {_shown(job['counts'] or {})}"
        if self.expected in (Expected.RUNS, Expected.PAUSED) and not self.is_list and job["state"] != State.COMPLETED:
            return f"{self.expected}, but it ended {job['state']}"
        return await self._items_through(client, job) if self.is_list else ""

    async def _items_through(self, client: Client, job: dict[str, Any]) -> str:
        items = await client.items(self.job_id)
        left = [item["state"] for item in items if item["state"] in UNFINISHED]
        if left:
            return f"it is {job['state']}, and items are {left}"
        counted = {name: sum(item["state"] == name for item in items) for name in ("completed", "failed", "cancelled")}
        said = {name: job["counts"][name] for name in counted}
        if said != counted:
            return f"it counts {said}, and its items are {counted}"
        ended = {item["id"]: item["state"] for item in items}
        for item_id, expected in self.items.items():
            if expected is Expected.RUNS and ended.get(item_id) != State.COMPLETED:
                return f"an item that should run ended {ended.get(item_id)}"
        return ""


def _after(word: str, expected: Expected, answer: Answer) -> Expected:
    """What is expected after the answer to a word about a job."""
    done = answer.status in (200, 202, 204) or (answer.again and answer.status in (404, 409))
    if word == "delete" and done:
        return Expected.GONE
    if not done or word == "priority":
        return expected
    if word == "submit":
        return Expected.PAUSED if expected is Expected.PAUSED else Expected.RUNS
    if word == "retry":
        return Expected.RUNS if answer.status == 202 else Expected.OPEN
    if expected is Expected.CANCELLED:  # it is taken back by nothing else
        return expected
    if expected is Expected.OPEN:
        return expected
    return {"pause": Expected.PAUSED, "resume": Expected.RUNS, "cancel": Expected.CANCELLED}[word]


def _with_list(word: str, expected: Expected, answer: Answer) -> Expected:
    """What is expected of an item after the answer to a word about its list."""
    if word == "cancel" and expected is not Expected.CANCELLED:
        return Expected.CANCELLED
    if word in ("retry", "delete"):
        return Expected.OPEN
    return expected


def _shown(counts: dict[str, int]) -> str:
    return " ".join(f"{number} {name}" for name, number in counts.items() if number and name != "total")


async def _until(look: Callable[[], Awaitable[str]], *, since: float, within: float) -> tuple[str, float]:
    """What is wrong in the end, and after how long it was right."""
    while True:
        wrong = await look()
        took = time.monotonic() - since
        if not wrong or took > within:
            return wrong, took
        await asyncio.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Round:
    victim: str
    sequences: tuple[Wished, ...]


class Wishes:
    def __init__(self, up: Up, origin: AnyOrigin, *, seed: int) -> None:
        self._up, self._origin, self._seed = up, origin, seed
        self._client = Client(up)

    async def run(self, *, sequences: int, at_once: int, victims: Sequence[str] = ("nothing",)) -> list[Round]:
        """`victims` in turn, one in each round."""
        rounds: list[Round] = []
        random = Random(self._seed)
        for first in range(0, sequences, at_once):
            victim = victims[len(rounds) % len(victims)]
            numbers = range(first, min(first + at_once, sequences))
            rounds.append(await self._round([self._sequence(number) for number in numbers], victim, random))
            for each in rounds[-1].sequences:
                if each.fault:
                    console.print(f"{victim}: {each.fault} | {each.story()}", style="red")
        await self._client.close()
        return rounds

    def _sequence(self, number: int) -> Wished:
        random = Random(f"{self._seed}/{number}")
        host = random.choice(HOSTS)
        many = ITEMS if random.random() < 0.4 else 1
        urls = [
            self._origin.url_for(f"/file/{SIZE}/wish-{self._seed}-{number}-{each}.mp4", rate=RATE, key=str(number))
            for each in range(many)
        ]
        return Wished(number, random, tuple(url.replace("127.0.0.1", host) for url in urls))

    async def _round(self, sequences: Sequence[Wished], victim: str, random: Random) -> Round:
        killing = asyncio.create_task(self._kill(victim, random.uniform(0.1, 2.0)))
        await asyncio.gather(*(each.make_wishes(self._client) for each in sequences))
        up_again = await killing
        await asyncio.gather(*(self._judge(each, up_again) for each in sequences))
        await asyncio.gather(*(each.let_go(self._client) for each in sequences))
        await asyncio.gather(*(self._see_through(each) for each in sequences))
        return Round(victim, tuple(sequences))

    async def _kill(self, victim: str, after: float) -> float:
        """When it is up again."""
        if victim == "nothing":
            return 0.0
        await asyncio.sleep(after)
        await asyncio.to_thread(self._up.hit, victim)
        while (await self._client.send("GET", "/readyz")).status != 200:
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic()

    async def _judge(self, each: Wished, up_again: float) -> None:
        since = max(each.ended_at, up_again)
        wrong, each.seconds = await _until(lambda: each.check(self._client), since=since, within=PATIENCE_SECONDS)
        each.fault = f"stuck: {wrong}" if wrong else ""

    async def _see_through(self, each: Wished) -> None:
        since = time.monotonic()
        wrong, _ = await _until(lambda: each.through(self._client), since=since, within=DRAIN_SECONDS)
        each.fault = each.fault or (f"stuck: {wrong}" if wrong else "")


def table(rounds: Sequence[Round], within: float) -> list[tuple[str, ...]]:
    rows = []
    for victim in ("nothing", *VICTIMS):
        mine = [each for one in rounds if one.victim == victim for each in one.sequences]
        seconds = [each.seconds for each in mine]
        if mine:
            stuck, late = sum(bool(each.fault) for each in mine), sum(second > within for second in seconds)
            lists = sum(each.is_list for each in mine)
            half, most = percentile(seconds, 50), max(seconds)
            rows.append((victim, *map(str, (len(mine), lists, stuck, late)), f"{half:.1f} s", f"{most:.1f} s"))
    return rows


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=5.0, help="seconds")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for the service's data, which stays")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    with (
        tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder,
        OriginProcess(Path(folder) / "origin") as origin,
    ):
        up = Up(wanted.keep or Path(folder), "everything")
        try:
            up.start()
            wishes = Wishes(up, origin, seed=wanted.seed)
            victims = ("nothing",) if wanted.no_kills else ("nothing", *VICTIMS)
            rounds = await wishes.run(sequences=wanted.sequences, at_once=wanted.at_once, victims=victims)
        finally:
            up.stop()
    rows = table(rounds, wanted.within)
    columns = ("killed", "sequences", "of lists", "stuck", "late", "half within", "all within")
    print_table(f"{wanted.sequences} sequences of wishes, seed {wanted.seed}", columns, rows)
    return 1 if any(row[3:5] != ("0", "0") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
