"""Records the histories that test_replay.py replays: `python -m tests.workflows.record`.

Run it for a new workflow or a new path through one, and commit the new files. Never record an old file anew to make
the replay pass: that file stands for a workflow that runs at somebody's home while they update.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from reelin.activities.handover import worker_stopping
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.sites import CONFIGURE, Configure
from reelin.contracts.work import LEASE_GRANTED, PAUSE, RESUME, Advance
from reelin.embedded.ports import choose_port
from reelin.embedded.server import ServerPlan, TemporalServer, find_temporal
from tests.workflows.conftest import SUGGEST_NEW_AFTER, Stage
from tests.workflows.script import DONE, EXPANDED, IS_PLAYLIST, WANTED, Script, failing
from tests.workflows.test_lease import happened
from tests.workflows.test_site import Scene

HISTORIES = Path(__file__).parent / "histories"

_FLYING = Advance(in_flight=1)
_LISTING = Advance(in_flight=1, listing=True)

SCENES: dict[str, tuple[Kind, Script]] = {
    "download-completed": (Kind.VIDEO, Script([DONE])),
    "download-retried": (Kind.VIDEO, Script([failing(FailureKind.NETWORK), failing(FailureKind.PROCESSING), DONE])),
    "download-failed": (Kind.VIDEO, Script([failing(FailureKind.NOT_FOUND)])),
    "download-conflict": (Kind.VIDEO, Script([failing(FailureKind.RESUME_CONFLICT), DONE])),
    "download-handed-over": (Kind.VIDEO, Script([worker_stopping(), worker_stopping(), DONE])),
    "download-cancelled": (Kind.VIDEO, Script(["hang"])),
    "download-cancelled-waiting": (Kind.VIDEO, Script([failing(FailureKind.DISK_FULL)])),
    "download-paused": (Kind.VIDEO, Script(["hang", DONE])),
    "download-playlist": (Kind.VIDEO, Script([IS_PLAYLIST, EXPANDED])),
    "playlist-completed": (Kind.PLAYLIST, Script([failing(FailureKind.NETWORK), EXPANDED])),
    "playlist-failed": (Kind.PLAYLIST, Script([failing(FailureKind.PRIVATE)])),
    "bulk-completed": (Kind.BULK, Script([EXPANDED], advances=[_FLYING, Advance(over=State.PARTIAL)])),
    "bulk-cancelled": (
        Kind.BULK,
        Script([EXPANDED], advances=[_FLYING], call_offs=[Advance(in_flight=1), Advance(over=State.CANCELLED)]),
    ),
    "playlist-listed-meanwhile": (
        Kind.PLAYLIST,
        Script(
            [failing(FailureKind.NETWORK), EXPANDED],
            advances=[_LISTING, _LISTING, _FLYING, Advance(over=State.COMPLETED)],
            listed_after=1,
        ),
    ),
    "playlist-given-up": (
        Kind.PLAYLIST,
        Script([failing(FailureKind.NOT_FOUND)], advances=[_LISTING, _FLYING, Advance(over=State.PARTIAL)]),
    ),
    "bulk-listing-cancelled": (
        Kind.BULK,
        Script(["hang"], advances=[_LISTING], call_offs=[Advance(in_flight=1), Advance(over=State.CANCELLED)]),
    ),
    "bulk-listing-paused": (
        Kind.BULK,
        Script(["hang", EXPANDED], advances=[_LISTING, Advance(paused=True), _FLYING, Advance(over=State.COMPLETED)]),
    ),
    "download-leased": (Kind.VIDEO, Script([WANTED, DONE])),
    "download-site-waits": (
        Kind.VIDEO,
        Script([failing(FailureKind.RATE_LIMITED, 60, site_waits=True), WANTED, DONE]),
    ),
    "download-cancelled-in-line": (Kind.VIDEO, Script([WANTED])),
    "download-started-in-line": (Kind.VIDEO, Script([DONE])),
    "download-started-in-line-asks": (Kind.VIDEO, Script([WANTED, DONE])),
    "download-started-in-line-cancelled": (Kind.VIDEO, Script([DONE])),
    "info-completed": (Kind.INFO, Script([DONE])),
    "info-failed": (Kind.INFO, Script([failing(FailureKind.UNSUPPORTED_URL)])),
}


#: The site's own: one that is used, complains, is opened by a probe and set by people; one that continues as new.
SITES = ("site-used", "site-continued", "site-words")


async def play_site(stage: Stage, name: str) -> WorkflowHandle[Any, Any]:
    scene = Scene(stage, max_at_once=1)
    first, second = await scene.holder(), await scene.holder()
    if name == "site-words":
        return await play_words(scene, first.id, second.id)
    site = await scene.ask(first.id)
    await scene.ask(second.id)
    await scene.told(1, 0)
    if name == "site-continued":
        for number in range(SUGGEST_NEW_AFTER):
            await scene.ask(second.id, priority=1 + number % 5)
    await scene.done(first.id)
    await scene.told(1, 1)
    await scene.done(second.id, kind=FailureKind.RATE_LIMITED, retry_after=1)
    await scene.ask("has-ended")
    await scene.ask(first.id)
    await scene.told(2, 1)
    await site.signal(CONFIGURE, Configure(max_at_once=2, requests_per_hour=100))
    await scene.done(first.id)
    await scene.until(0, 0)
    await scene.close()
    return stage.client.get_workflow_handle(site.id, run_id=site.first_execution_run_id)


async def play_words(scene: Scene, first: str, second: str) -> WorkflowHandle[Any, Any]:
    site = await scene.words(asks=[first, second])
    await scene.told(1, 0)
    await scene.words(dones=[first], asks=[first])
    await scene.told(1, 1)
    await scene.words(dones=[second])
    await scene.told(2, 1)
    await scene.words(dones=[first])
    await scene.until(0, 0)
    await scene.close()
    return site


async def play(stage: Stage, name: str) -> WorkflowHandle[Any, Any]:
    """Runs a scene to its end; those that are named so are cancelled in the middle."""
    if name in SITES:
        return await play_site(stage, name)
    kind, script = SCENES[name]
    in_line = "in-line" in name and "started" in name
    handle = await stage.start(script, kind, in_line=in_line)
    if name.endswith("-asks"):  # a minute passes in real time
        while not script.attempts:
            await asyncio.sleep(0.5)
    if in_line or WANTED in script.steps:
        while not await happened(handle, "timer_started_event_attributes"):
            await asyncio.sleep(0.02)
        if "cancelled" not in name:
            await handle.signal(LEASE_GRANTED)
    if "cancelled" in name:
        while not (in_line or (script.waits if name.endswith("waiting") else script.attempts)):
            await asyncio.sleep(0.02)
        await handle.cancel()
    if "paused" in name:
        while not script.attempts:
            await asyncio.sleep(0.02)
        await handle.signal(PAUSE)
        while not script.paused:
            await asyncio.sleep(0.02)
        await handle.signal(RESUME)
    try:
        await handle.result()
    except WorkflowFailureError:
        if not {"cancelled", "failed"} & set(name.split("-")):
            raise
    return handle


def scrubbed(history: str) -> str:
    """Without what tells of the machine that it was recorded on, and that no replay looks at."""

    def clean(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: clean(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [clean(each) for each in value]
        if key == "stackTrace":
            return ""
        return re.sub(r"\d+@[\w.-]+", "recorder", value) if isinstance(value, str) else value

    return json.dumps(clean(json.loads(history)), indent=1)


class _SuggestsEarly(ServerPlan):
    """4,096 events would be a large file."""

    def command(self) -> list[str]:
        suggestion = f"limit.historyCount.suggestContinueAsNew={SUGGEST_NEW_AFTER}"
        return [*super().command(), "--dynamic-config-value", suggestion]


async def record() -> None:
    with TemporaryDirectory() as folder:
        plan = _SuggestsEarly(find_temporal(), Path(folder), choose_port(0), choose_port(0))
        server = TemporalServer(plan)
        client = await server.start()
        try:
            async with Stage(client).open() as stage:
                for name in (*SCENES, *SITES):
                    path = HISTORIES / f"{name}.json"
                    if path.exists():
                        sys.stderr.write(f"kept      {path.name}\n")
                        continue
                    handle = await play(stage, name)
                    path.write_text(scrubbed((await handle.fetch_history()).to_json()) + "\n", encoding="utf-8")
                    sys.stderr.write(f"recorded  {path.name}\n")
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(record())
