"""A real `reelin up` in a process of its own, that tests may kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from reelin.contracts.jobs import FINAL_STATES, Counts, Job, State
from tests.processes import end_with_the_tests
from tests.waiting import PATIENCE


class Service:
    """`reelin up` on a data folder. Start it, stop it, kill it, start it again: the folder stays."""

    def __init__(
        self, folder: Path, *, program: str = "reelin.cli", open_files: int | None = None, **environment: str
    ) -> None:
        """`open_files` is the limit that it starts with and cannot raise."""
        self.data_dir = folder / "data"
        self.media_dir = self.data_dir / "media"
        self.log = folder / "up.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("REELIN_", "TEMPORAL_"))},
            "REELIN_DATA_DIR": str(self.data_dir),
            "REELIN_PORT": "0",
            "REELIN_EGRESS_ALLOW": "127.0.0.0/8",
            "REELIN_UNLIMITED_SITES": "127.0.0.1",
            **environment,
        }
        limited = ("sh", "-c", f'ulimit -n {open_files}; exec "$@"', "sh") if open_files else ()
        self._command = [*limited, sys.executable, "-m", program, "up"]
        self.process: subprocess.Popen[bytes] | None = None
        self.note: dict[str, Any] = {}
        self.api = httpx.Client()

    def start(self) -> Service:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
                preexec_fn=end_with_the_tests,
            )
        path = self.data_dir / "up.json"
        deadline = time.monotonic() + PATIENCE
        while not (path.exists() and json.loads(path.read_text())["pid"] == self.process.pid):
            assert self.process.poll() is None, f"up ended with {self.process.returncode}: {self.said()}"
            assert time.monotonic() < deadline, f"up did not start: {self.said()}"
            time.sleep(0.02)
        self.note = json.loads(path.read_text())
        self.api.close()
        self.api = httpx.Client(base_url=self.note["url"], timeout=90)
        return self

    def stop(self) -> int:
        """As Ctrl-C does; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """kill -9 of everything that it started, all at once."""
        assert self.process is not None
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)

    def kill_program(self) -> None:
        """kill -9 of the one process only; what it started has to notice."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        self.api.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def tree(self) -> list[psutil.Process]:
        assert self.process is not None
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def temporal(self) -> psutil.Process:
        [found] = [process for process in self.tree() if process.name() == "temporal"]
        return found

    def temporal_address(self) -> str:
        command = self.temporal().cmdline()
        return f"127.0.0.1:{command[command.index('--port') + 1]}"

    @property
    def installation(self) -> str:
        """Its id, as its own Temporal server has it."""
        return (self.data_dir / "temporal" / "installation").read_text()

    def in_temporal(self, workflow_id: str) -> str:
        """What Temporal calls it."""
        return f"{workflow_id}@{self.installation[:8]}"

    def processes_of(self, job_id: str) -> list[psutil.Process]:
        """The children that have the job's scratch folder open, and what those started."""
        scratch = str(self.media_dir / ".reelin-scratch" / job_id)
        found = []
        for process in self.tree():
            try:
                if any(file.path.startswith(scratch) for file in process.open_files()):
                    found += [process, *process.children(recursive=True)]
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    # What a client does.

    def submit(self, url: str, **fields: Any) -> Job:
        answer = self.api.post("/api/jobs", json={"url": url, **fields})
        assert answer.status_code in (200, 202), answer.text
        return Job.model_validate(answer.json())

    def submit_list(self, urls: Sequence[str], **fields: Any) -> Job:
        answer = self.api.post("/api/jobs", json={"urls": list(urls), **fields})
        assert answer.status_code == 202, answer.text
        return Job.model_validate(answer.json())

    def items(self, batch_id: str, **query: str) -> list[Job]:
        """All of a batch's, position by position."""
        found: list[Job] = []
        cursor: str | None = None
        while True:
            page = {
                "parent": batch_id,
                "limit": 500,
                "sort": "position",
                **query,
                **({"cursor": cursor} if cursor else {}),
            }
            answer = self.api.get("/api/jobs", params=page).raise_for_status().json()
            found += [Job.model_validate(each) for each in answer["items"]]
            cursor = answer["next_cursor"]
            if cursor is None:
                return found

    def counts(self, batch_id: str) -> Counts:
        counts = self.job(batch_id).counts
        assert counts is not None, "a batch has counts"
        return counts

    def act(self, action: str, job_id: str, **body: Any) -> Job:
        """cancel, pause, resume, retry."""
        answer = self.api.post(f"/api/jobs/{job_id}/{action}", json=body)
        assert answer.status_code == 202, answer.text
        return Job.model_validate(answer.json())

    def running_workflows(self, batch_id: str) -> set[str]:
        """The batch's own and its items', as Temporal's UI lists them."""
        mine = f"(ReelinParent = '{batch_id}' OR WorkflowId = '{self.in_temporal(batch_id)}')"
        query = f"{mine} AND ExecutionStatus = 'Running'"
        address = f"{self.note['temporal_ui']}/api/v1/namespaces/default/workflows"
        answer = httpx.get(address, params={"query": query}, timeout=20).raise_for_status().json()
        return {each["execution"]["workflowId"].partition("@")[0] for each in answer.get("executions", [])}

    def job(self, job_id: str) -> Job:
        return Job.model_validate(self.api.get(f"/api/jobs/{job_id}").raise_for_status().json())

    def wait(self, job_id: str, *, within: float = PATIENCE) -> Job:
        """Until the job is final."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            answer = self.api.get(f"/api/jobs/{job_id}", params={"wait": 20}).raise_for_status()
            job = Job.model_validate(answer.json())
            if job.state in FINAL_STATES:
                return job
        raise AssertionError(f"{job_id} is not final: {self.job(job_id)}\n{self.said()}")

    def wait_until(self, job_id: str, *, percent: float = 0, state: State = State.RUNNING) -> Job:
        """Until it runs and has come so far."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            job = self.job(job_id)
            if job.state is state and (not percent or (job.progress and (job.progress.percent or 0) >= percent)):
                return job
            assert job.state not in FINAL_STATES, job
            time.sleep(0.02)
        raise AssertionError(f"{job_id} did not come that far: {self.job(job_id)}\n{self.said()}")

    def path_of(self, job: Job) -> Path:
        assert job.result is not None, job
        return self.media_dir / job.result["files"][0]["path"]
