"""Lists and playlists through the API, as people use them and as they should not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Job, Kind, State
from reelin.origin.server import Origin
from tests.service.service import Service
from tests.waiting import promised, until

SMALL = 30_000
SLOW = {"rate": 100_000}
#: So that some stand in line while others run.
FOUR_AT_ONCE = {"at_once": 4}


def names(prefix: str, number: int, size: int = SMALL) -> list[str]:
    return [f"/file/{size}/{prefix}-{each}.mp4" for each in range(number)]


def transfers(origin: Origin, path: str) -> int:
    """How often the file went out, in whole or in part."""
    return sum(record.status in (200, 206) and record.bytes_sent > 0 for record in origin.requests(path))


def whole(service: Service, origin: Origin, items: Iterable[Job]) -> None:
    """Every item's one file is what the origin has."""
    for job in items:
        assert job.state is State.COMPLETED, (job.url, job.failure)
        assert job.url is not None
        assert service.path_of(job).read_bytes() == origin.reference(job.url)


def test_a_list_with_duplicates_is_one_job_and_one_file_for_each_url(service: Service, origin: Origin) -> None:
    paths = names("listed", 6)
    urls = [origin.url + path for path in paths]
    batch = service.submit_list([*urls, urls[2], urls[0] + "#again"])
    assert batch.kind is Kind.BULK
    done = service.wait(batch.id)
    assert done.state is State.COMPLETED
    assert done.counts is not None
    assert (done.counts.total, done.counts.completed) == (8, 8)
    items = service.items(batch.id)
    assert [item.position for item in items] == [*range(1, 9)]
    assert [item.parent_id for item in items] == [batch.id] * 8
    assert (items[6].id, items[7].id) == (items[2].id, items[0].id)
    whole(service, origin, items)
    assert {path: transfers(origin, path) for path in paths} == dict.fromkeys(paths, 1)
    assert len(list(service.media_dir.rglob("listed-*"))) == 6
    assert batch.id in {job["id"] for job in service.api.get("/api/jobs").json()["items"]}
    assert items[0].id not in {job["id"] for job in service.api.get("/api/jobs", params={"limit": 500}).json()["items"]}


def test_a_text_is_a_list_too_and_the_same_key_is_the_same_job(service: Service, origin: Origin) -> None:
    paths = names("text", 3)
    text = "# three\r\n\r\n" + "\r\n".join(origin.url + path for path in paths) + "\r\n  \r\n"
    sent = {"content": text, "headers": {"content-type": "text/plain", "idempotency-key": "once"}}
    first = service.api.post("/api/jobs", params={"preset": "best", "priority": 2}, **sent)
    again = service.api.post("/api/jobs", params={"preset": "best", "priority": 2}, **sent)
    assert (first.status_code, again.status_code) == (202, 200), first.text
    assert first.json()["id"] == again.json()["id"]
    other = service.api.post("/api/jobs", params={"priority": 1}, **sent)
    assert other.status_code == 409, other.text
    done = service.wait(first.json()["id"])
    assert done.counts is not None
    assert done.counts.completed == 3
    whole(service, origin, service.items(done.id))
    assert all(transfers(origin, path) == 1 for path in paths)


@pytest.mark.parametrize("kind", [Kind.AUTO, Kind.PLAYLIST])
def test_a_playlists_url_becomes_a_batch_under_its_own_id(service: Service, origin: Origin, kind: Kind) -> None:
    url = origin.url_for("/feed/5.rss", name=f"feed-{kind}", size=SMALL, title=f"Feed {kind} <b>")
    job = service.submit(url, kind=kind)
    done = service.wait(job.id)
    assert (done.id, done.kind, done.state) == (job.id, Kind.PLAYLIST, State.COMPLETED), done.failure
    assert done.counts is not None
    assert done.counts.completed == 5
    items = service.items(job.id)
    assert [item.title for item in items] == [f"Feed {kind} <b> {number}" for number in range(1, 6)]
    assert [item.position for item in items] == [1, 2, 3, 4, 5]
    whole(service, origin, items)


def test_a_feed_with_itself_and_with_odd_entries_ends_in_part(service: Service, origin: Origin) -> None:
    url = origin.url_for("/feed/3.rss", name="odd", size=SMALL, odd=True, loop=True)
    done = service.wait(service.submit(url).id)
    assert done.state is State.PARTIAL
    items = service.items(done.id)
    whole(service, origin, items[:3])
    assert len(items) == 8, "the feed itself is left out"
    assert {item.state for item in items[3:]} == {State.FAILED}
    kinds = Counter(item.failure.kind for item in items[3:] if item.failure)
    assert kinds[FailureKind.BLOCKED_ADDRESS] == 1
    assert kinds[FailureKind.INVALID_URL] == 4
    assert not any("secret" in (item.url or "") + (item.failure.message if item.failure else "") for item in items)


def test_a_feed_of_feeds_is_taken_apart_two_deep(service: Service, origin: Origin) -> None:
    url = origin.url_for("/feeds/3.rss", items=2, name="nested", size=SMALL)
    done = service.wait(service.submit(url).id)
    assert done.state is State.COMPLETED, done
    feeds = service.items(done.id)
    last = max(feed.finished_at for feed in feeds if feed.finished_at)
    assert done.finished_at is not None
    assert (done.finished_at - last).total_seconds() < 15, "it hears of an inner one's end, and does not wait 30 s"
    assert [feed.kind for feed in feeds] == [Kind.PLAYLIST] * 3
    for feed in feeds:
        assert feed.counts is not None
        assert feed.counts.completed == 2
        whole(service, origin, service.items(feed.id))


def test_what_runs_for_someone_else_is_attached_and_what_the_library_has_is_skipped(
    service: Service, origin: Origin
) -> None:
    [there, running, new] = names("shared", 3, 150_000)
    slow = origin.url_for(running, rate=100_000, key="shared")
    service.wait(service.submit(origin.url + there).id)
    single = service.submit(slow)
    service.wait_until(single.id)
    batch = service.submit_list([origin.url + there, slow, origin.url + new])
    done = service.wait(batch.id)
    assert done.counts is not None
    assert (done.state, done.counts.completed, done.counts.skipped) == (State.COMPLETED, 2, 1)
    items = service.items(batch.id)
    assert items[1].id == single.id
    assert [bool((item.result or {}).get("skipped")) for item in items] == [True, False, False]
    whole(service, origin, items)
    assert [transfers(origin, path) for path in (there, running, new)] == [1, 1, 1]


def test_only_what_failed_is_tried_again(service: Service, origin: Origin) -> None:
    fine, gone, denied, dead = names("again", 4)
    urls = [
        origin.url + fine,
        origin.url_for(gone, fail="404x1"),
        origin.url_for(denied, fail="403x2"),
        origin.url_for(dead, fail="404x2"),
    ]
    batch = service.submit_list(urls)
    done = service.wait(batch.id)
    assert done.counts is not None
    assert (done.state, done.counts.completed, done.counts.failed) == (State.PARTIAL, 1, 3)
    kinds = [item.failure and item.failure.kind for item in service.items(batch.id)]
    assert kinds == [None, FailureKind.NOT_FOUND, FailureKind.FORBIDDEN, FailureKind.NOT_FOUND]

    def requests() -> list[int]:
        return [len(origin.requests(path)) for path in (fine, gone, denied, dead)]

    before = requests()
    item = service.items(batch.id)[1]
    service.act("retry", item.id)
    assert service.wait(item.id).state is State.COMPLETED
    until(lambda: service.counts(batch.id).completed == 2)
    assert service.job(batch.id).state is State.PARTIAL
    after_one = requests()
    assert [after - was > 0 for after, was in zip(after_one, before, strict=True)] == [False, True, False, False]

    answer = service.api.post("/api/jobs/retry", json={"parent": batch.id, "failure": "not_found"})
    assert answer.json() == {"matched": 1}
    assert service.wait(batch.id).state is State.PARTIAL
    after_class = requests()
    assert [after - was > 0 for after, was in zip(after_class, after_one, strict=True)] == [False, False, False, True]

    states: list[State] = []
    while not states or states[-1] is not State.COMPLETED:
        assert len(states) < 3, service.items(batch.id)
        service.act("retry", batch.id)
        states.append(service.wait(batch.id).state)
    whole(service, origin, service.items(batch.id))
    assert requests()[0] == before[0], "what was there is not fetched again"


def test_a_paused_batch_keeps_its_bytes_and_starts_nothing_until_it_is_resumed(
    service: Service, origin: Origin
) -> None:
    paths = names("paused", 8, 250_000)
    stalling = {"stall_after": 60_000}  # once: none of the first four ends before it is paused
    urls = [origin.url_for(path, **SLOW, key="paused", **stalling) for path in paths[:4]]
    urls += [origin.url_for(path, **SLOW, key="paused") for path in paths[4:]]
    batch = service.submit_list(urls, options=FOUR_AT_ONCE)
    until(lambda: sum(origin.bytes_sent(path) >= 60_000 for path in paths) == 4)
    service.act("pause", batch.id)
    until(lambda: service.job(batch.id).state is State.PAUSED)
    until(lambda: service.counts(batch.id).running == 0)
    asked = [len(origin.requests(path)) for path in paths]
    assert sum(number > 0 for number in asked) == 4, "as many as may be in flight"
    assert service.counts(batch.id).paused >= 4
    assert not any(service.processes_of(item.id) for item in service.items(batch.id))
    time.sleep(1.5)
    assert [len(origin.requests(path)) for path in paths] == asked, "nothing starts while it is paused"
    service.act("resume", batch.id)
    done = service.wait(batch.id)
    assert done.state is State.COMPLETED
    whole(service, origin, service.items(batch.id))
    for path, before in zip(paths, asked, strict=True):
        again = sum(record.bytes_sent for record in origin.requests(path)) - 250_000
        assert again <= 100_000 * before, f"{path}: {again} bytes were fetched again"


def test_a_cancelled_batch_leaves_nothing_running_but_what_someone_else_wants(service: Service, origin: Origin) -> None:
    paths = names("cancelled", 30, 400_000)
    urls = [origin.url_for(path, **SLOW, key="cancelled") for path in paths]
    batch = service.submit_list(urls, options=FOUR_AT_ONCE)
    until(lambda: service.counts(batch.id).running == 4)
    single = service.submit(urls[0])
    also_in = service.submit_list([urls[1], urls[25]])
    until(lambda: service.job(also_in.id).state is State.RUNNING)
    with promised(10):
        service.act("cancel", batch.id)
        done = service.wait(batch.id)
    assert done.state is State.CANCELLED
    assert done.counts is not None
    assert done.counts.cancelled == 30 == done.counts.total
    until(lambda: not service.running_workflows(batch.id) - {single.id, service.items(also_in.id)[0].id})
    asked = {path for path in paths if origin.requests(path)}
    assert service.wait(single.id).state is State.COMPLETED
    assert service.wait(also_in.id).state is State.COMPLETED
    whole(service, origin, [service.job(single.id), *service.items(also_in.id)])
    assert {path for path in paths if origin.requests(path)} == asked | {paths[25]}
    items = service.items(batch.id)
    assert {item.state for item in items} == {State.CANCELLED}
    assert "Traceback" not in service.log.read_text(errors="replace")
    left = {folder.name for folder in (service.media_dir / ".reelin-scratch").iterdir() if folder.is_dir()}
    assert not left & {item.id for item in items}
    assert not any(service.processes_of(item.id) for item in items)


def test_a_preview_runs_what_was_chosen(service: Service, origin: Origin) -> None:
    url = origin.url_for("/feed/6.rss", name="preview", size=SMALL)
    job = service.submit(url, preview=True)
    until(lambda: service.job(job.id).state is State.PAUSED)
    assert [item.position for item in service.items(job.id)] == [1, 2, 3, 4, 5, 6]
    assert not origin.requests(f"/file/{SMALL}/preview-1.mp4")
    assert service.api.post(f"/api/jobs/{job.id}/resume", json={"positions": [7]}).status_code == 422
    service.act("resume", job.id, positions=[2, 5])
    done = service.wait(job.id)
    assert done.kind is Kind.PLAYLIST
    assert done.counts is not None
    assert (done.state, done.counts.completed, done.counts.cancelled) == (State.COMPLETED, 2, 4)
    items = service.items(job.id)
    whole(service, origin, [items[1], items[4]])
    assert not origin.requests(f"/file/{SMALL}/preview-1.mp4")


def test_an_item_that_is_made_urgent_comes_next(service: Service, origin: Origin) -> None:
    paths = names("urgent", 12, 100_000)
    batch = service.submit_list([origin.url_for(path, **SLOW, key="urgent") for path in paths], options=FOUR_AT_ONCE)
    until(lambda: origin.requests(paths[0]))
    last = service.items(batch.id)[-1]
    assert service.api.patch(f"/api/jobs/{last.id}", json={"priority": 1}).status_code == 200
    assert service.wait(batch.id).state is State.COMPLETED
    order = sorted(paths, key=lambda path: origin.requests(path)[0].started_at)
    assert order.index(paths[-1]) < 9, order


def test_a_playlists_options_choose_its_items(service: Service, origin: Origin) -> None:
    feed = origin.url_for("/feed/8.rss", name="chosen", size=SMALL)
    service.wait(service.submit(f"{origin.url}/file/{SMALL}/chosen-7.mp4").id)
    options = {"only_new": True, "max_items": 3, "reverse": True}
    done = service.wait(service.submit(feed, kind="playlist", options=options).id)
    assert done.state is State.COMPLETED
    fetched = [(item.url or "").rpartition("/")[2] for item in service.items(done.id)]
    assert fetched == ["chosen-8.mp4", "chosen-6.mp4", "chosen-5.mp4"]
    whole(service, origin, service.items(done.id))


def test_force_fetches_again_and_keeps_one_file(service: Service, origin: Origin) -> None:
    paths = names("forced", 3)
    urls = [origin.url + path for path in paths]
    service.wait(service.submit_list(urls).id)
    skipped = service.wait(service.submit_list(urls).id)
    assert skipped.counts is not None
    assert (skipped.state, skipped.counts.skipped) == (State.COMPLETED, 3)
    forced = service.wait(service.submit_list(urls, force=True).id)
    assert forced.counts is not None
    assert (forced.state, forced.counts.completed, forced.counts.skipped) == (State.COMPLETED, 3, 0)
    assert [transfers(origin, path) for path in paths] == [2, 2, 2]
    assert len(list(service.media_dir.rglob("forced-*"))) == 3


def test_a_deleted_batch_ends_with_its_items(service: Service, origin: Origin) -> None:
    paths = names("deleted", 20, 200_000)
    urls = [origin.url_for(path, **SLOW, key="deleted") for path in paths]
    batch = service.submit_list(urls, options=FOUR_AT_ONCE)
    until(lambda: sum(bool(origin.requests(path)) for path in paths) == 4)
    items = service.items(batch.id)
    working = [process for item in items for process in service.processes_of(item.id)]
    assert working
    assert service.api.delete(f"/api/jobs/{batch.id}").status_code == 204
    assert service.api.get(f"/api/jobs/{batch.id}").status_code == 404
    assert service.api.get(f"/api/jobs/{items[0].id}").status_code == 404
    until(lambda: not service.running_workflows(batch.id))
    assert not any(service.processes_of(item.id) for item in items)
    asked = [len(origin.requests(path)) for path in paths]
    time.sleep(1)
    assert [len(origin.requests(path)) for path in paths] == asked
    again = service.submit_list(urls[:2])
    assert service.wait(again.id).state is State.COMPLETED
    whole(service, origin, service.items(again.id))


@pytest.mark.parametrize("lists", [1, 2])
def test_a_thousand_items_of_a_stalled_site_do_not_keep_another_site_waiting(
    new_service: Callable[..., Service], origin: Origin, lists: int
) -> None:
    service = new_service(REELIN_STALL_SECONDS="300", REELIN_UNLIMITED_SITES="").start()
    stalled = [
        origin.url_for(f"/file/{SMALL}/stalled-{lists}-{each}.mp4", stall_after=0, stall_times=1000, key="stalled")
        for each in range(1000)
    ]
    path = f"/file/{SMALL}/second-site-{lists}.mp4"
    other = origin.url.replace("127.0.0.1", "localhost") + path
    if lists == 2:
        first = service.submit_list(stalled)
        until(lambda: service.counts(first.id).running == 4)
    # No stalled item ends while this test lasts, so whoever begins at all has waited for none of them.
    with promised(2):
        batch = service.submit_list([*stalled, other] if lists == 1 else [other])
        until(lambda: origin.requests(path), service.said)
    until(lambda: any(item.state is State.COMPLETED for item in service.items(batch.id, site="localhost")))
