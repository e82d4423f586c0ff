"""What the API says to a real Temporal, and what it makes of a Temporal that is away."""

from __future__ import annotations

import uuid

import pytest
from temporalio.client import Client

from reelin.activities.courier import Courier
from reelin.api.dispatcher import Dispatcher
from reelin.api.temporal_control import TemporalControl
from reelin.contracts.sites import Words
from reelin.contracts.work import DOWNLOAD_WORKFLOW, PAUSE, TASK_QUEUES, WORKFLOW_QUEUE
from reelin.embedded.ports import choose_port
from reelin.errors import Unavailable
from reelin.process import Attention
from reelin.temporal import connect
from tests.activities.test_courier import signals_to
from tests.dispatch.conftest import Desk
from tests.library.samples import new_job


async def test_a_signal_arrives_and_one_to_nobody_is_nothing(desk: Desk) -> None:
    control = TemporalControl(desk.client, Dispatcher(desk.library, desk.client), Attention())
    job = (await desk.library.jobs.submit(new_job(uuid.uuid4().hex))).job
    handle = await desk.client.start_workflow(
        DOWNLOAD_WORKFLOW, job.request(), id=job.id, task_queue=WORKFLOW_QUEUE, memo={"run": job.run}
    )
    await control.signal(job.id, PAUSE)
    await control.signal("video-none", PAUSE)
    await control.cancel("video-none")
    description = await handle.describe()
    assert description.history_length >= 3
    await handle.terminate()


async def test_a_site_is_told_to_read_who_waits_and_one_without_a_workflow_is_nothing(desk: Desk) -> None:
    control = TemporalControl(desk.client, Dispatcher(desk.library, desk.client), Attention())
    site = f"{uuid.uuid4().hex[:8]}.org"
    await control.reread_waiters(site)
    courier = Courier(desk.client, 4)
    await courier.say(site, reread=True)
    await courier.close()
    await control.reread_waiters(site)
    assert await signals_to(desk.client, site) == [Words(reread=True)] * 2


async def test_the_queues_say_what_waits_and_who_listens(desk: Desk) -> None:
    control = TemporalControl(desk.client, Dispatcher(desk.library, desk.client), Attention())
    queues = await control.queues()
    assert set(queues) == set(TASK_QUEUES)
    assert all(queue.backlog >= 0 and queue.oldest_seconds >= 0 for queue in queues.values())
    assert await control.pollers() == {name: queue.workers for name, queue in queues.items()}


async def test_a_temporal_that_is_away_is_unavailable(desk: Desk) -> None:
    nobody = await connect(f"127.0.0.1:{choose_port(0).number}", lazy=True)
    control = TemporalControl(nobody, Dispatcher(desk.library, nobody), Attention())
    for asked in (
        control.cancel("video-x"),
        control.signal("video-x", PAUSE),
        control.queues(),
        control.reread_waiters("x.org"),
    ):
        with pytest.raises(Unavailable):
            await asked


async def test_a_namespace_that_is_not_there_is_said_before_anything_is_submitted(desk: Desk) -> None:
    config = desk.client.config()
    config["namespace"] = "nowhere"
    client = Client(**config)
    control = TemporalControl(client, Dispatcher(desk.library, client), Attention())
    assert "operator namespace create --namespace nowhere" in str(await control.check())
    assert await TemporalControl(desk.client, Dispatcher(desk.library, desk.client), Attention()).check() is None
