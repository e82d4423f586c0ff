"""Records the histories that test_replay.py replays: `python -m tests.workflows.record`.

Run it for a new workflow or a new path through one, and commit the new files. Once a version is released, an old file
is never recorded anew to make the replay pass: it stands for a workflow that runs at somebody's home while they update.
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
from reelin.contracts.sites import CONFIGURE, Configure, Words
from reelin.contracts.work import LEASE_GRANTED, PAUSE, RESUME, Advance
from reelin.embedded.ports import choose_port
from reelin.embedded.server import ServerPlan, TemporalServer, find_temporal
from tests.workflows.conftest import SUGGEST_NEW_AFTER, Stage
from tests.workflows.script import DONE, EXPANDED, IS_PLAYLIST, WANTED, Script, failing
from tests.workflows.test_lease import until_answered, until_tried
from tests.workflows.test_site import Scene, eventually

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
    "download-leased": (Kind.VIDEO, Script([DONE])),
    "download-lease-awaited": (Kind.VIDEO, Script([WANTED, DONE])),
    "download-lease-lost": (Kind.VIDEO, Script([WANTED, WANTED, DONE])),
    "download-site-waits": (Kind.VIDEO, Script([failing(FailureKind.RATE_LIMITED, 60, site_waits=True), DONE])),
    "download-cancelled-in-line": (Kind.VIDEO, Script([WANTED])),
    "download-paused-in-line": (Kind.VIDEO, Script([WANTED, WANTED, DONE])),
    "info-completed": (Kind.INFO, Script([DONE])),
    "info-failed": (Kind.INFO, Script([failing(FailureKind.UNSUPPORTED_URL)])),
}


#: The site's own: one that is used, complains, is opened by a probe and set by people; one that continues as new; one
#: whose line is read from rows, of which some wait no more.
SITES = ("site-used", "site-continued", "site-rows")


async def play_site(stage: Stage, name: str) -> WorkflowHandle[Any, Any]:
    scene = Scene(stage, max_at_once=1)
    if name == "site-rows":
        return await play_rows(scene)
    site = await scene.ask("first", "second")
    await scene.until("first")
    if name == "site-continued":
        for _ in range(SUGGEST_NEW_AFTER):
            await scene.tell(Words())
    await scene.done("first")
    await scene.until("second")
    await scene.done("second", kind=FailureKind.RATE_LIMITED, retry_after=1)
    await scene.ask("first")
    await scene.until("first")
    await site.signal(CONFIGURE, Configure(max_at_once=2, requests_per_hour=100))
    await scene.done("first")
    await scene.until()
    await scene.close()
    return stage.client.get_workflow_handle(site.id, run_id=site.first_execution_run_id)


async def play_rows(scene: Scene) -> WorkflowHandle[Any, Any]:
    scene.script.gone = {"cancelled"}
    scene.script.ending = {"again"}
    scene.line_up("cancelled", "again", *(f"job-{number}" for number in range(40)))
    site = await scene.tell(Words(reread=True))
    await scene.until("job-0")
    scene.script.ending = set()
    while "again" not in scene.script.held:
        [holder] = scene.script.held
        await scene.done(holder)
        await eventually(lambda: bool(scene.script.held))
    await scene.close()
    return site


async def play(stage: Stage, name: str) -> WorkflowHandle[Any, Any]:
    """Runs a scene to its end; those that are named so are cancelled in the middle."""
    if name in SITES:
        return await play_site(stage, name)
    kind, script = SCENES[name]
    handle = await stage.start(script, kind, leased=name in ("download-leased", "download-lease-lost"))
    if script.steps[0] is WANTED or name == "download-site-waits":
        await until_answered(handle, 1)
    if name.startswith("download-lease-") or name == "download-site-waits":
        await handle.signal(LEASE_GRANTED)
    if name == "download-lease-lost":
        await until_answered(handle, 2)
        await handle.signal(LEASE_GRANTED)
    if "cancelled" in name:
        while not (script.waits if name.endswith("waiting") else script.attempts):
            await asyncio.sleep(0.02)
        await handle.cancel()
    if "paused" in name:
        while not script.attempts:
            await asyncio.sleep(0.02)
        await handle.signal(PAUSE)
        while not script.paused:
            await asyncio.sleep(0.02)
        await handle.signal(RESUME)
    if name == "download-paused-in-line":
        await until_tried(script, 2)
        await handle.signal(LEASE_GRANTED)
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
