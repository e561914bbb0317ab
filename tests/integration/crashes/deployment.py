"""Real processes on the stores of a harness: a test crashes or freezes each at a failpoint and reads what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from shared import queue
from tests.integration.pipeline.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
LEASE_SECONDS = 20
TIMEOUT = 60.0  # seconds; only a busy machine needs more than a few
CELERY = ("-P", "threads", "--without-gossip", "--without-mingle", "--without-heartbeat")


def wait_until(fact: Callable[[], bool], what: str, seconds: float = TIMEOUT) -> None:
    """Wait until the fact is true; fail with `what` after the timeout."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"in {seconds:g} s never: {what}"
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A started process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """All output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until the process has printed `text`."""
        wait_until(lambda: text in self.output or self.process.poll() is not None, f"{self.name} says {text}")
        assert text in self.output, self.output

    def wait_for_death_by(self, number: signal.Signals) -> None:
        """Wait until the process ends; it must end by this signal."""
        try:
            ended = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} lives on\n{self.output}") from None
        assert ended == -number, f"{self.name} ended with {ended}\n{self.output}"

    def wait_until_frozen(self) -> None:
        """Wait until the process has stopped itself with SIGSTOP."""
        own = psutil.Process(self.process.pid)
        wait_until(lambda: own.status() == psutil.STATUS_STOPPED, f"{self.name} stops itself")

    def resume(self) -> None:
        """Send SIGCONT to the frozen process."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Send SIGTERM; the process must end in time with status 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(TIMEOUT) == 0, f"{self.name}\n{self.output}"

    def end(self) -> None:
        """Kill the process."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class Deployment:
    """A harness with real processes; `settings` are in the environment of each. They run the packages in `code`."""

    def __init__(self, harness: Harness, folder: Path, **settings: str) -> None:
        self.harness = harness
        self.folder = folder
        self.code = ROOT
        self._app = queue.celery_app(harness.settings, door=True)
        self._programs: list[Program] = []
        secrets = {name: getattr(harness.settings, name).get_secret_value() for name in ("database_url", "redis_url")}
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "DATABASE_URL": secrets["database_url"],
            "REDIS_URL": secrets["redis_url"],
            "STORAGE_URL": harness.settings.storage,
            "FRONT_API_URL": harness.settings.front_api_url,
            "FRONT_APP_URL": harness.settings.front_app_url,
            "FRONT_CLIENT_ID": harness.settings.front_client_id,
            "FRONT_CLIENT_SECRET": harness.settings.front_client_secret.get_secret_value(),
            "TOKEN_KEYS": harness.settings.token_keys[0].get_secret_value(),
            "FRONT_SIGNING_KEYS": "k",
            "MAILROOM_DATA": str(folder),
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "LOG_FORMAT": "json",
            **settings,
        }

    def run(self, name: str, *command: str, crash_at: str = "") -> Program:
        """Start `python COMMAND` as a program."""
        log = self.folder / f"{len(self._programs)}-{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**self.environment, "MAILROOM_CRASH_AT": crash_at, "PYTHONPATH": self._python_path()},
                cwd=self.code,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._programs.append(Program(name=name, process=process, log=log))
        return self._programs[-1]

    def _python_path(self) -> str:
        """Return where programs find packages: in `code`, and where a test installed more."""
        return os.pathsep.join(filter(None, (str(self.code), self.environment.get("PYTHONPATH"))))

    def worker(self, *, consumes: str = queue.WORK_QUEUE, crash_at: str = "", slots: int = 4) -> Program:
        """Start a worker of this queue. A worker that is to crash needs a queue of its own, with its task alone."""
        return self._celery(f"worker-{consumes}", consumes, slots, crash_at)

    def recorder(self, *, crash_at: str = "") -> Program:
        """Start a recorder."""
        return self._celery("recorder", queue.RECORD_QUEUE, 1, crash_at)

    def sweeper(self, *, crash_at: str = "") -> Program:
        """Start a sweeper."""
        return self.run("sweeper", "-m", "workers.sweeping.sweeper", crash_at=crash_at)

    def door(self, port: int, *, crash_at: str = "") -> Program:
        """Start a door with one process behind its main process."""
        self.environment |= {"PORT": str(port), "WEB_CONCURRENCY": "1"}
        return self.run("door", "-m", "ingest", crash_at=crash_at)

    def _celery(self, name: str, consumes: str, slots: int, crash_at: str) -> Program:
        named = ("-n", f"{name}@%h", "-Q", consumes, "--concurrency", str(slots))
        return self.run(name, "-m", "celery", "-q", "-A", "workers.app", "worker", *named, *CELERY, crash_at=crash_at)

    def send_message(self, name: str, *arguments: Any, consumes: str) -> None:
        """Send a Celery message to this queue."""
        self._app.send_task(name, args=arguments, queue=consumes)

    def is_settled(self) -> bool:
        """Whether no delivery waits and no task is open."""
        open_tasks = "SELECT count(*)::int FROM tasks WHERE state IN ('ready', 'queued', 'running')"
        return self.harness.resources.intake.depth() == 0 and self.harness.one(open_tasks) == 0

    def settle(self) -> None:
        """Wait until no delivery waits and no task is open."""
        self.wait_until(self.is_settled, "all is done")

    def wait_until(self, fact: Callable[[], bool], what: str) -> None:
        """Wait until the fact is true; after the timeout fail with the tasks and all output."""
        try:
            wait_until(fact, what)
        except AssertionError:
            tasks = self.harness.sql("SELECT id, kind, state, attempts, code, due_at::text, lease_until FROM tasks")
            output = "\n".join(f"{program.name}:\n{program.output[-4000:]}" for program in self._programs)
            raise AssertionError(f"never: {what}\n{tasks}\n{output}") from None

    def verdict(self) -> dict[str, int]:
        """Return the verdict of the sandbox's ledger."""
        judged = self.harness.control("verdict")
        return {name: judged[name] for name in ("lost", "double", "ghost", "wrong_token")}

    def close(self) -> None:
        """End every process and the harness."""
        for program in self._programs:
            program.end()
        self._app.close()
        self.harness.close()


CLEAN = {"lost": 0, "double": 0, "ghost": 0, "wrong_token": 0}
