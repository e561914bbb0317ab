"""Mailroom and a small Front as processes, started as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import requests

from bench.harness.ports import free_ports
from bench.harness.processes import Tree, wait_until
from bench.harness.small_front import SmallFront

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[2]
MAILROOM = (sys.executable, "-m", "console")
# Settings of the person who runs the tests must not change the result.
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_CONFIG")
PORTS = ("PORT", "CONSOLE_PORT", "SANDBOX_PORT")
STARTS_WITHIN, STOPS_WITHIN, GONE_WITHIN = 90.0, 60.0, 10.0  # seconds; slack for a crowded machine
BEHIND_THE_DOOR = {"recorder", "worker", "sweeper"}
OPEN = ("ready", "queued", "running")
TAIL = 60


class Stack:
    """One `mailroom up` and one `mailroom sandbox serve` on a folder of their own."""

    def __init__(self, folder: Path, *, front: Sequence[str] = (), settings: Mapping[str, str] | None = None) -> None:
        self.data = folder / "data"
        self.log = folder / "up.log"
        self.tree = Tree()
        ports = free_ports(len(PORTS))
        self.port, _, sandbox_port = ports
        self.environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self.environment |= dict(zip(PORTS, map(str, ports), strict=True))
        self.environment |= {"MAILROOM_DATA": str(self.data), "FRONT_API_URL": f"http://127.0.0.1:{sandbox_port}"}
        self.environment |= {"FRONT_APP_URL": self.environment["FRONT_API_URL"], **(settings or {})}
        self.front = SmallFront(sandbox_port, self.data / "sandbox" / "ledger.jsonl")
        self._front_options = front
        self._folder = folder
        self._started_at = 0.0
        self._up: subprocess.Popen[bytes] | None = None
        self._sandbox: subprocess.Popen[bytes] | None = None

    @property
    def up(self) -> subprocess.Popen[bytes]:
        """The process of `mailroom up`."""
        assert self._up, "not started"
        return self._up

    def start(self) -> None:
        """Start both; return when the door answers and the processes behind it have sent a heartbeat."""
        self._started_at = time.time()
        self._up = self._spawn(self.log, "up")
        self._expect(self._is_ready, "mailroom up is ready")
        if self._sandbox is None:
            self._sandbox = self._spawn(self._folder / "sandbox.log", "sandbox", "serve", *self._front_options)
            self._expect(self._sandbox_listens, "the sandbox listens")
        self.note()

    def note(self) -> None:
        """Remember the processes of `mailroom up` that run now."""
        self.tree.note(self.up.pid)

    def ask_to_stop(self) -> None:
        """Send TERM to `mailroom up`, as a platform does."""
        self.note()
        self.up.terminate()

    def stopped(self) -> int:
        """Wait until `mailroom up` has ended, and return its exit code."""
        return self.up.wait(STOPS_WITHIN)

    def kill(self) -> None:
        """Send SIGKILL to `mailroom up` alone."""
        self.note()
        self.up.kill()
        self.up.wait()

    def close(self) -> None:
        """Stop everything, and fail unless all processes ended with status 0 and none is left."""
        if self._up and self._up.poll() is None:
            self.ask_to_stop()
        if self._sandbox:
            self._sandbox.send_signal(signal.SIGTERM)
        try:
            ended = [process.wait(STOPS_WITHIN) for process in (self._up, self._sandbox) if process]
            left = self.tree.left_after(GONE_WITHIN)
        finally:
            self.tree.kill()
        assert (ended, left) == ([0] * len(ended), []), f"{ended}, left: {left}\n{self.tail()}"

    def mailroom(self, *words: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it must exit with this code."""
        done = subprocess.run(
            [*MAILROOM, *words],
            env=self.environment | settings,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=STARTS_WITHIN,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str) -> Any:
        """Return the document that a command prints with `--json`."""
        return json.loads(self.mailroom(*words, "--json").stdout)

    def rows(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Raises OperationalError while the database is away."""
        with psycopg.connect(self.published()["DATABASE_URL"], connect_timeout=5) as conn:
            return conn.execute(query, values).fetchall()

    def published(self) -> dict[str, str]:
        """Return the settings that `mailroom up` publishes for other commands."""
        lines = (self.data / "environment").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def add_tenant(self, name: str, company: str, *, action: str, people: Mapping[str, str]) -> None:
        """Create the company, connect it as a tenant, and import its users (address → own action)."""
        token, users = self._folder / f"{company}.token", self._folder / f"{company}.csv"
        token.write_text(self.front.create(company), encoding="utf-8")
        lines = [f"u-{number},Person {number},{address},{own}" for number, (address, own) in enumerate(people.items())]
        users.write_text("\n".join(["external_id,name,email,action", *lines, ""]), encoding="utf-8")
        self.mailroom("tenant", "add", name, "--company", company, "--api-token-file", str(token))
        self.mailroom("user", "import", str(users), "--tenant", name)
        self.mailroom("tenant", "policy", name, "--action", action)

    def settle(self, within: float) -> None:
        """Return when everything sent was delivered or given up, the intake is empty and no task is open."""
        if wait_until(self._is_settled, within, every=1.0):
            self.note()
            return
        tasks = self.rows(
            "SELECT id, kind, state, attempts, code, due_at - now(), lease_until - now() FROM tasks"
            " WHERE state IN ('ready', 'queued', 'running') ORDER BY id LIMIT 40"
        )
        shown = "\n".join([f"not settled within {within:g} s", str(self.json("status")), *map(str, tasks), self.tail()])
        raise AssertionError(shown)

    def tail(self) -> str:
        """Return the last lines of `mailroom up`."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])

    def _is_settled(self) -> bool:
        if self.front.verdict()["pending"] or self._has_open_tasks():  # cheap: the command takes a second of CPU time
            return False
        try:
            status = self.json("status")
        except AssertionError:  # a server is restarting
            return False
        intake = status["intake"]
        return not (intake["depth"] or intake["spooled"] or sum(status["tasks"][state] for state in OPEN))

    def _has_open_tasks(self) -> bool:
        try:
            [(found,)] = self.rows("SELECT EXISTS (SELECT FROM tasks WHERE state = ANY(%s))", list(OPEN))
        except psycopg.Error:  # a server is restarting
            return True
        return bool(found)

    def _is_ready(self) -> bool:
        assert self.up.poll() is None, self.tail()
        try:
            answers = requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).ok
            started = self.rows("SELECT kind FROM processes WHERE started_at > to_timestamp(%s)", self._started_at)
        except (requests.RequestException, psycopg.Error, OSError, KeyError):
            return False
        return answers and {kind for (kind,) in started} >= BEHIND_THE_DOOR

    def _sandbox_listens(self) -> bool:
        assert self._sandbox
        assert self._sandbox.poll() is None, (self._folder / "sandbox.log").read_text(encoding="utf-8")
        return self.front.listens()

    def _expect(self, fact: Callable[[], bool], what: str) -> None:
        assert wait_until(fact, STARTS_WITHIN, every=0.1), f"never: {what}\n{self.tail()}"

    def _spawn(self, log: Path, *words: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*MAILROOM, *words],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
