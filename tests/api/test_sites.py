"""Sites: looked at, and told how much may be asked of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.sites import NO_LIMIT, Configure, Learnt, Lease, SiteSituation
from tests.api.service import Api, api_in_memory


def situation(site: str = "example.org", number: int = 1, **fields: Any) -> SiteSituation:
    values = {"cooldown_until": None, "reason": None, "learnt": Learnt()}
    return SiteSituation(site=site, number=number, **(values | fields))


async def wait_in_line(api: Api, *job_ids: str) -> None:
    for job_id in job_ids:
        assert await api.library.jobs.wait_for_lease(job_id, 1) is not None


async def test_a_site_is_shown_as_its_workflow_last_said_and_with_who_waits_for_it_now(api: Api) -> None:
    until = datetime.now(UTC) + timedelta(minutes=5)
    said = situation(cooldown_until=until, reason=FailureKind.RATE_LIMITED)
    await api.library.sites.record(said)
    jobs = [(await api.submit(url=f"https://example.org/{number}")).id for number in range(4)]
    await wait_in_line(api, *jobs[:3])
    await api.library.waiters.grant([Lease(job_id=jobs[0], run=1, number=1, owner="local", since=0)])
    shown = (await api.client.get("/api/sites/example.org")).raise_for_status().json()
    assert datetime.fromisoformat(shown.pop("cooldown_until")) == until
    assert shown == {
        "site": "example.org",
        "max_at_once": 4,
        "max_at_once_is_default": True,
        "requests_per_hour": None,
        "in_use": 1,
        "waiting": 2,
        "reason": "rate_limited",
    }


async def test_a_cooldown_that_is_over_is_not_shown(api: Api) -> None:
    await api.library.sites.record(situation(cooldown_until=datetime.now(UTC) - timedelta(seconds=1)))
    assert (await api.client.get("/api/sites/example.org")).json()["cooldown_until"] is None


async def test_sites_are_listed_by_name_and_in_pages(api: Api) -> None:
    for site in ("c.org", "a.org", "b.org"):
        await api.library.sites.record(situation(site))
    first = (await api.client.get("/api/sites", params={"limit": 2})).json()
    assert [site["site"] for site in first["items"]] == ["a.org", "b.org"]
    rest = (await api.client.get("/api/sites", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert ([site["site"] for site in rest["items"]], rest["next_cursor"]) == (["c.org"], None)
    refused = await api.client.get("/api/sites", params={"cursor": "nonsense"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")


async def test_what_people_set_is_kept_and_told_to_the_workflow(api: Api) -> None:
    answer = await api.client.patch("/api/sites/example.org", json={"max_at_once": 2, "requests_per_hour": 100})
    assert (answer.status_code, answer.json()["max_at_once"], answer.json()["requests_per_hour"]) == (200, 2, 100)
    answer = await api.client.patch("/api/sites/example.org", json={"requests_per_hour": None})
    assert (answer.json()["max_at_once"], answer.json()["requests_per_hour"]) == (2, None)
    assert api.control.configured == [
        ("example.org", Configure(max_at_once=2, requests_per_hour=100)),
        ("example.org", Configure(max_at_once=2)),
    ]


async def test_null_is_no_limit_and_default_is_what_applies_where_nobody_set_one(tmp_path: Path) -> None:
    def limits(answer: httpx.Response) -> tuple[int | None, bool]:
        return answer.json()["max_at_once"], answer.json()["max_at_once_is_default"]

    async with api_in_memory(tmp_path, site_max_at_once=3, unlimited_sites=()) as api:
        address = "/api/sites/example.org"
        assert limits(await api.client.patch(address, json={"max_at_once": None})) == (None, False)
        assert limits(await api.client.get(address)) == (None, False), "it is kept"
        left_out = await api.client.patch(address, json={"requests_per_hour": 100})
        assert limits(left_out) == (None, False), "what is left out stays as it is"
        assert limits(await api.client.patch(address, json={"max_at_once": "default"})) == (3, True)
        assert limits(await api.client.patch(address, json={"max_at_once": 5})) == (5, False)
        told = [settings.max_at_once for _, settings in api.control.configured]
        assert told == [NO_LIMIT, NO_LIMIT, None, 5], "the site's workflow can tell none from the setting's"


async def test_with_temporal_away_what_people_set_is_kept(api: Api) -> None:
    api.control.away = True
    assert (await api.client.patch("/api/sites/example.org", json={"max_at_once": 2})).status_code == 200
    assert (await api.client.get("/api/sites/example.org")).json()["max_at_once"] == 2


async def test_an_unlimited_site_has_a_limit_once_it_complains_or_somebody_sets_one(tmp_path: Path) -> None:
    async with api_in_memory(tmp_path, unlimited_sites=("a.org", "b.org", "c.org"), site_max_at_once=3) as api:
        for site in ("a.org", "b.org", "c.org"):
            await api.library.sites.record(situation(site))
        await api.library.sites.complained("b.org", FailureKind.BOT_CHECK, datetime.now(UTC) + timedelta(hours=1))
        await api.client.patch("/api/sites/c.org", json={"max_at_once": 9})
        shown = (await api.client.get("/api/sites")).json()["items"]
        assert {site["site"]: site["max_at_once"] for site in shown} == {"a.org": None, "b.org": 3, "c.org": 9}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_at_once": 0}, "max_at_once"),
        ({"max_at_once": 101}, "max_at_once"),
        ({"max_at_once": True}, "max_at_once"),
        ({"max_at_once": [4]}, "max_at_once"),
        ({"max_at_once": "many"}, "max_at_once"),
        ({"requests_per_hour": 0}, "requests_per_hour"),
        ({"requests_per_hour": 10**30}, "requests_per_hour"),
        ({"max_at_one": 2}, "max_at_one"),
        ({}, "body"),
    ],
)
async def test_settings_that_make_no_sense_are_refused_with_a_remedy(
    api: Api, body: dict[str, object], field: str
) -> None:
    answer = await api.client.patch("/api/sites/example.org", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == field and error["remedy"]
    assert (await api.client.get("/api/sites/example.org")).status_code == 404


@pytest.mark.parametrize(
    "site",
    ["www.example.org", "EXAMPLE.org", "example.org:80", "a b", "%20", "x" * 300, "[", "@", "*", "%252e", "127.1"],
)
async def test_what_is_not_a_site_is_refused(api: Api, site: str) -> None:
    answer = await api.client.patch(f"/api/sites/{site}", json={"max_at_once": 2})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "site")
    assert not api.control.configured


@pytest.mark.parametrize("site", ["example.org", "example.co.uk", "127.0.0.1", "localhost", "::1", "bücher.example"])
async def test_a_host_that_is_a_site_is_taken(api: Api, site: str) -> None:
    assert (await api.client.patch(f"/api/sites/{site}", json={"max_at_once": 2})).status_code == 200


async def test_an_unknown_site_is_not_found(api: Api) -> None:
    answer = await api.client.get("/api/sites/nowhere.org")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (404, "site")


async def test_a_changed_priority_reaches_the_line_of_the_site(api: Api) -> None:
    job = (await api.client.post("/api/jobs", json={"url": "https://example.org/a"})).json()["id"]
    await wait_in_line(api, job)
    await api.client.patch(f"/api/jobs/{job}", json={"priority": 1})
    assert api.control.reread == ["example.org"]
    [ask] = (await api.library.waiters.front("example.org", at_most=9)).front
    assert (ask.job_id, ask.priority) == (job, 1)
    api.control.away = True
    answer = await api.client.patch(f"/api/jobs/{job}", json={"priority": 2})
    assert (answer.status_code, answer.json()["priority"]) == (200, 2)


async def test_a_batch_takes_those_along_that_wait_at_their_site(api: Api) -> None:
    batch = (await api.client.post("/api/jobs", json={"urls": ["https://a.org/1", "https://b.org/2"]})).json()["id"]
    released = await api.library.window.release(batch, at_once=1, limit_of=lambda _: None)
    [first] = released.jobs
    await wait_in_line(api, first.id)
    await api.client.patch(f"/api/jobs/{batch}", json={"priority": 1})
    assert api.control.reread == [first.site], "nobody waits for the other one"
    items = (await api.client.get("/api/jobs", params={"parent": batch})).json()["items"]
    assert [item["priority"] for item in items] == [1, 1]
