"""Words to a site, on a real Temporal: which go together, and when."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from temporalio.client import Client

from reelin.activities.courier import MOST_ASKS, Courier
from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import Ask, Done, Words, site_workflow_id
from reelin.embedded.ports import choose_port
from reelin.errors import Unavailable
from reelin.temporal import connect
from tests.waiting import PATIENCE


async def signals_to(client: Client, site: str) -> list[Words]:
    """No worker runs, so nothing is answered."""
    found: list[Words] = []
    async for event in client.get_workflow_handle(site_workflow_id(site)).fetch_history_events():
        if event.HasField("workflow_execution_signaled_event_attributes"):
            signal = event.workflow_execution_signaled_event_attributes
            found += await client.data_converter.decode(signal.input.payloads, [Words])
    return found


async def words_to(client: Client, site: str) -> list[Ask | Done]:
    return [word for words in await signals_to(client, site) for word in (*words.dones, *words.asks)]


def ask(name: str) -> Ask:
    return Ask(job_id=name, run=1, owner="local")


def done(name: str) -> Done:
    return Done(job_id=name, lease=1, success=True)


@pytest.fixture
def site() -> str:
    return f"{uuid.uuid4().hex[:8]}.org"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """So long a rest that only hurry ends it."""
    monkeypatch.setattr("reelin.activities.courier.REST_SECONDS", 60.0)


@pytest.mark.usefixtures("slow")
async def test_the_first_word_goes_at_once_and_those_after_it_together(temporal: Client, site: str) -> None:
    courier = Courier(temporal, 4)
    await asyncio.wait_for(courier.say(site, ask("one"), ask("two")), PATIENCE)
    later = [asyncio.create_task(courier.say(site, word)) for word in (ask("three"), done("one"), done("two"))]
    await asyncio.sleep(0.2)
    assert await signals_to(temporal, site) == [Words(asks=(ask("one"), ask("two")))]
    await courier.close()
    await asyncio.gather(*later)
    assert (await signals_to(temporal, site))[1:] == [Words(dones=(done("one"), done("two")), asks=(ask("three"),))]


async def test_a_rest_ends_by_itself(temporal: Client, site: str) -> None:
    courier = Courier(temporal, 4)
    async with asyncio.timeout(PATIENCE):
        for number in range(3):
            await courier.say(site, ask(f"{number}"))
    assert len(await signals_to(temporal, site)) == 3


@pytest.mark.usefixtures("slow")
async def test_what_is_urgent_does_not_wait_and_takes_the_others_along(temporal: Client, site: str) -> None:
    courier = Courier(temporal, 4)
    await courier.say(site, ask("one"))
    gathered = asyncio.create_task(courier.say(site, done("one")))
    await asyncio.sleep(0)
    complaint = Done(job_id="two", lease=1, kind=FailureKind.RATE_LIMITED)
    await asyncio.wait_for(courier.say(site, complaint, urgent=True), PATIENCE)
    await gathered
    assert (await signals_to(temporal, site))[1:] == [Words(dones=(done("one"), complaint))]
    await courier.close()


@pytest.mark.usefixtures("slow")
async def test_who_gives_up_waiting_has_said_it_all_the_same(temporal: Client, site: str) -> None:
    courier = Courier(temporal, 4)
    await courier.say(site, ask("one"))
    impatient = asyncio.create_task(courier.say(site, done("one")))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    await courier.close()
    assert await words_to(temporal, site) == [ask("one"), done("one")]


@pytest.mark.usefixtures("slow")
async def test_sites_do_not_wait_for_each_other(temporal: Client, site: str) -> None:
    courier = Courier(temporal, 4)
    other = f"other-{site}"
    await courier.say(site, ask("one"))
    await asyncio.wait_for(courier.say(other, ask("two")), PATIENCE)
    assert await words_to(temporal, other) == [ask("two")]
    await courier.close()


@pytest.mark.usefixtures("slow")
async def test_of_very_many_who_wait_some_are_named_and_the_site_reads_the_others_itself(
    temporal: Client, site: str
) -> None:
    courier = Courier(temporal, 4)
    few, many = [ask(f"{number}") for number in range(MOST_ASKS)], [ask(f"{number}") for number in range(500)]
    await courier.say(site, *few)
    await courier.say(site, *many, done("one"), urgent=True)
    await courier.close()
    told = await signals_to(temporal, site)
    assert told == [Words(asks=tuple(few)), Words(asks=tuple(few), dones=(done("one"),), reread=True)]


@pytest.mark.usefixtures("slow")
async def test_a_site_is_told_to_read_who_waits_without_any_name(temporal: Client, site: str) -> None:
    courier = Courier(temporal, 4)
    await courier.say(site)
    await courier.say(site, reread=True)
    later = [asyncio.create_task(courier.say(site, reread=True)), asyncio.create_task(courier.say(site, ask("one")))]
    await asyncio.sleep(0)
    await courier.close()
    await asyncio.gather(*later)
    assert await signals_to(temporal, site) == [Words(reread=True), Words(asks=(ask("one"),), reread=True)]


async def test_with_temporal_away_everyone_who_waits_hears_of_it(site: str) -> None:
    courier = Courier(await connect(f"127.0.0.1:{choose_port(0).number}", lazy=True), 4)
    fates = await asyncio.gather(*(courier.say(site, ask(name)) for name in "ab"), return_exceptions=True)
    assert [type(fate) for fate in fates] == [Unavailable, Unavailable]
    await courier.close()
