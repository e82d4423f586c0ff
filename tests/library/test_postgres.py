"""What is different about PostgreSQL: a server that comes and goes, and values that it does not take."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from reelin.contracts.options import Options
from reelin.errors import StartupError, Unavailable
from reelin.library import JobFilter, Library
from reelin.library import postgres as dialect
from tests.library.samples import failure, new_job, publication
from tests.postgres import PostgresServer, running_postgres


@pytest.fixture
async def library(postgres: PostgresServer) -> AsyncIterator[Library]:
    opened = Library(await postgres.cleared())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """To be stopped and started; it runs whenever a test begins."""
    with running_postgres() as server:
        yield server


async def test_a_server_that_restarts_is_unavailable_and_then_there_again(own_server: PostgresServer) -> None:
    library = Library(await own_server.new())
    await library.open()
    await asyncio.gather(*(library.jobs.submit(new_job(str(number))) for number in range(4)))
    await asyncio.gather(*(library.jobs.get(f"video-{number}") for number in range(4)))
    own_server.stop()
    for _ in range(2):
        with pytest.raises(Unavailable, match="The database does not answer"):
            await library.ping()
        with pytest.raises(Unavailable):
            await library.jobs.get("video-1")
        with pytest.raises(Unavailable):
            await library.jobs.submit(new_job("later"))
    own_server.start()
    await asyncio.gather(*(library.jobs.get(f"video-{number}") for number in range(4)))
    assert (await library.jobs.submit(new_job("later"))).fresh
    await library.close()


async def test_nobody_meets_a_connection_that_a_restart_broke(own_server: PostgresServer) -> None:
    library = Library(await own_server.new())
    await library.open()
    await library.jobs.submit(new_job())
    await asyncio.gather(*(library.jobs.get("video-one") for _ in range(8)))
    await asyncio.to_thread(own_server.stop)  # meanwhile the driver hears of it, as it does in a process that waits
    own_server.start()
    await asyncio.gather(*(library.jobs.get("video-one") for _ in range(8)))
    await library.ping()
    await library.close()


async def test_a_transaction_that_is_broken_off_is_unavailable_and_leaves_nothing(own_server: PostgresServer) -> None:
    library = Library(await own_server.new())
    await library.open()
    with pytest.raises(Unavailable):
        async with library._database.writing() as connection:
            await connection.exec_driver_sql("INSERT INTO forgotten (id, run) VALUES ('video-x', 1)")
            own_server.stop()
            own_server.start()
            await connection.exec_driver_sql("INSERT INTO forgotten (id, run) VALUES ('video-y', 1)")
    async with library._database.reading() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM forgotten")).scalar() == 0
    await library.close()


async def test_whoever_falls_silent_in_its_turn_loses_it(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Library(await postgres.cleared())
    await patient.open()
    monkeypatch.setitem(dialect._SESSION, "idle_in_transaction_session_timeout", "300ms")
    silent = Library(await postgres.cleared())
    with pytest.raises(Unavailable):
        async with silent._database.writing() as connection:
            assert (await patient.jobs.submit(new_job())).fresh  # waits until the other one is thrown out
            await connection.exec_driver_sql("SELECT 1")
    await silent.ping()
    await silent.close()
    await patient.close()


async def test_whoever_waits_too_long_for_its_turn_is_told_so(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Library(await postgres.cleared())
    await busy.open()
    monkeypatch.setitem(dialect._SESSION, "lock_timeout", "300ms")
    hasty = Library(await postgres.cleared())
    async with busy._database.writing():
        with pytest.raises(Unavailable, match="lock timeout"):
            await hasty.jobs.submit(new_job())
        assert await hasty.jobs.find("video-one") is None  # readers wait for nobody
    assert (await hasty.jobs.submit(new_job())).fresh
    await hasty.close()
    await busy.close()


async def test_a_reader_sees_one_moment_in_all_that_it_reads(library: Library) -> None:
    count = "SELECT count(*) FROM jobs"
    async with library._database.reading() as connection:
        before = (await connection.exec_driver_sql(count)).scalar()
        await library.jobs.submit(new_job())
        assert (await connection.exec_driver_sql(count)).scalar() == before


_START = "import asyncio, sys; from reelin.library import Library; asyncio.run(Library(sys.argv[1]).open())"


async def test_processes_that_start_at_once_make_the_tables_once(postgres: PostgresServer) -> None:
    url = await postgres.new()
    starting = [subprocess.Popen([sys.executable, "-c", _START, url]) for _ in range(3)]
    assert [process.wait(60) for process in starting] == [0, 0, 0]


async def test_a_url_may_say_what_libpq_understands(postgres: PostgresServer) -> None:
    url = (await postgres.cleared()).replace("reelin@", "reelin:p%40ss%2Fword@")
    library = Library(f"{url}&sslmode=prefer&application_name=mine")
    await library.open()
    await library.ping()
    await library.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("/postgres?", "/nowhere?"), "does not exist"),
        (("reelin@", "somebody:secret@"), "somebody"),
        (("host=/", "host=/nowhere/"), "No such file"),
        (("?host", "?sslmode=sometimes&host"), "sslmode"),
        (("@/", "@host:port/"), "cannot be read"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_one_clear_line(
    postgres: PostgresServer, change: tuple[str, str], reason: str
) -> None:
    with pytest.raises(StartupError, match=reason) as raised:
        await Library(postgres.url("postgres").replace(*change)).open()
    assert "REELIN_DATABASE_URL" in str(raised.value)
    assert "\n" not in str(raised.value) and "secret" not in str(raised.value)


async def test_texts_that_it_cannot_store_are_stored_without_what_it_refuses(library: Library) -> None:
    described = publication().metadata.model_copy(
        update={"title": "a\0b", "uploader": "\0", "extractor": "x" * 300, "extractor_id": secrets.token_hex(2000)}
    )
    await library.jobs.submit(new_job())
    await library.jobs.submit(new_job("two"))
    assert await library.videos.publish(replace(publication(), metadata=described)) is not None
    await library.jobs.fail("video-two", 1, failure=failure().model_copy(update={"message": "no\0body"}))
    assert (await library.jobs.get("video-one")).title == "a\ufffdb"
    assert ((await library.jobs.get("video-two")).failure or {})["message"] == "no\0body"


async def test_an_id_or_a_filter_that_holds_a_nul_finds_nothing(library: Library) -> None:
    await library.jobs.submit(new_job())
    assert await library.jobs.find("video-one\0") is None
    for wanted in (JobFilter(q="one\0"), JobFilter(site="\0"), JobFilter(parent="\0"), JobFilter(failure="\0")):
        page = await library.jobs.page(wanted, sort="title", limit=5, cursor=None)
        assert page.items == ()


async def test_the_longest_addresses_are_listed_and_found(library: Library) -> None:
    url = f"https://example.org/{secrets.token_urlsafe(4096)}"[:4096]
    await library.jobs.submit(replace(new_job(), url=url))
    assert await library.videos.publish(replace(publication(), url=url)) is not None
    assert (await library.shelf.want(owner="local", url=url, preset="best", options=Options()))[1] is False
