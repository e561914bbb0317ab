"""The whole pipeline without processes: a minimal door, the real recorder, steps and stores, and the sandbox."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from cryptography.fernet import Fernet

from sandbox.server import RunningSandbox, start_in_thread
from sandbox.settings import SandboxSettings
from shared.connection.vault import TokenVault
from shared.db.tasks import leases
from shared.db.tenants import connections
from shared.intake.client import Intake
from shared.models import Delivery, Task
from shared.process.heartbeat import Heartbeat
from shared.settings import Settings
from workers.attempts.run import run_task
from workers.resources import Resources, open_resources
from workers.steps import STEPS
from workers.sweeping.periodic_jobs import periodic_jobs

NORA = "nora@acme.example"
TO_NORA = [{"handle": "sender@elsewhere.example", "role": "from"}, {"handle": NORA, "role": "to"}]


@dataclass
class Messages:
    """A replacement of the Celery app: it keeps all messages, and the test runs them."""

    sent: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def send_task(self, name: str, args: tuple[Any, ...] = (), **_: Any) -> None:
        several = args and isinstance(args[0], list)
        self.sent += [(name, (each,)) for each in args[0]] if several else [(name, args)]

    @contextmanager
    def producer_or_acquire(self) -> Iterator[Messages]:
        yield self

    @property
    def channel(self) -> Messages:
        return self

    @contextmanager
    def batched(self) -> Iterator[None]:
        yield


class Harness:
    """A Mailroom and a Front without processes."""

    def __init__(self, database_url: str, redis_url: str, folder: Path, **sandbox: Any):
        self.door = _Door()
        usual = {"door": self.door.url, "signing_key": "k", "port": 0, "requests_per_minute": 100_000}
        self.sandbox: RunningSandbox = start_in_thread(SandboxSettings(**{**usual, **sandbox}))
        self.settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            storage_url=f"file://{folder}",
            front_api_url=self.sandbox.url,
            front_app_url=self.sandbox.url,
            front_client_id=self.sandbox.front.settings.client_id,
            front_client_secret=self.sandbox.front.settings.client_secret,
            token_keys=[Fernet.generate_key().decode()],
        )
        self.messages = Messages()
        self._open()

    def _open(self) -> None:
        opened = open_resources(self.settings, self.messages, kind="worker")  # type: ignore[arg-type]
        # It counts as alive and not as a worker: commands must not wait for it.
        heartbeat = Heartbeat(opened.pool, opened.name, "harness")
        self.resources: Resources = replace(opened, heartbeat=heartbeat)
        self.publish(at_once=False)
        self.door.intake = self.resources.intake

    def publish(self, *, at_once: bool) -> None:
        """Say whether notifications are sent to endpoints as soon as there are any; else a test sends them itself."""
        self.resources.dispatcher.has_endpoints = lambda: at_once  # type: ignore[assignment]

    @contextmanager
    def stopped(self, **settings: Any) -> Iterator[None]:
        """Work on nothing inside the block, as stopped processes do, and with these settings after it."""
        self.resources.close()
        self.messages.sent.clear()
        yield
        self.settings = Settings(**{**self.settings.model_dump(), **settings})
        self._open()

    def tenant(self, company: str, name: str = "Acme", *, token: str | None = None, **policy: Any) -> int:
        """Add a company to Front, and a tenant that was connected to it an hour ago."""
        found = self.control("companies", {"id": company, "name": name})
        token = token or found["api_token"]

        def add(conn: Any) -> int:
            columns = {"name": name, "company_id": company, "action": "archive", **policy}
            names = ", ".join(columns)
            marks = ", ".join(["%s"] * len(columns))
            (tenant_id,) = conn.execute(
                f"INSERT INTO tenants ({names}) VALUES ({marks}) RETURNING id", list(columns.values())
            ).fetchone()
            secret = TokenVault(self.settings.token_keys).seal(tenant_id, {"access_token": token})
            connections.connect(conn, tenant_id, kind="api_token", secret=secret)
            conn.execute("UPDATE tenants SET connected_at = now() - interval '1 hour' WHERE id = %s", (tenant_id,))
            return tenant_id

        return self.resources.pool.run(add)

    def user(self, tenant_id: int, *addresses: str, action: str | None = None, active: bool = True) -> int:
        """Add a user with these addresses."""

        def add(conn: Any) -> int:
            (user_id,) = conn.execute(
                "INSERT INTO users (tenant_id, external_id, name, action, active)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                (tenant_id, addresses[0], addresses[0], action, active),
            ).fetchone()
            for position, address in enumerate(addresses, 1):
                conn.execute(
                    "INSERT INTO user_addresses VALUES (%s, %s, %s, %s, %s)",
                    (tenant_id, address.casefold(), user_id, position, address),
                )
            return user_id

        return self.resources.pool.run(add)

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a control request to the sandbox: POST with a body, else GET."""
        url = f"{self.sandbox.url}/sandbox/{path}"
        answer = requests.get(url, timeout=30) if body is None else requests.post(url, json=body, timeout=120)
        assert answer.ok, answer.text
        return answer.json()

    def clear_faults(self) -> None:
        """Remove all faults from the sandbox."""
        assert requests.delete(f"{self.sandbox.url}/sandbox/faults", timeout=30).ok

    def send(self, event_type: str, company: str, **order: Any) -> list[dict[str, Any]]:
        """Have Front send webhooks."""
        return self.control("send", {"type": event_type, "company": company, **order})["events"]

    def receive(self, body: bytes) -> str:
        """Put a body into the intake as the door does, and return the delivery's id."""
        delivery = Delivery(id=uuid.uuid4().hex, received_at=datetime.now(UTC), body=body)
        self.resources.intake.put([delivery])
        return delivery.id

    def record(self) -> int:
        """Record all waiting deliveries and return their number."""
        return self.resources.recorder.drain()

    def work(self, rounds: int = 200) -> None:
        """Run due tasks until none is left."""
        for _ in range(rounds):
            self.resources.dispatcher.send_round()
            todo, self.messages.sent = self.messages.sent, []
            if not todo:
                return
            for _name, (task_id,) in todo:
                self.run(task_id)
        raise AssertionError("the work does not end")

    def claim(self, task_id: int, worker: str = "test") -> Task | None:
        """Claim the task as a worker of that name."""
        lease = self.settings.lease_seconds
        claimed = self.resources.pool.run(lambda conn: leases.claim(conn, task_id, worker, lease_seconds=lease))
        return claimed.task if claimed else None

    def run(self, task_id: int) -> None:
        """Run one task."""
        run_task(self.resources, STEPS, task_id)

    def make_due(self, seconds: float = 86_400) -> None:
        """Make all waiting retries due now."""
        self.sql("UPDATE tasks SET due_at = now() WHERE state = 'ready' AND due_at < 'infinity'")
        self.sql("UPDATE tenants SET not_before = '-infinity'")

    def sweep(self, *names: str) -> None:
        """Run these periodic jobs of the sweeper once."""
        for job in periodic_jobs():
            if job.name in names:
                job.run(self.resources)

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, if any."""

        def run(conn: Any) -> list[tuple[Any, ...]]:
            cursor = conn.execute(query, values)
            return cursor.fetchall() if cursor.description else []

        return self.resources.pool.run(run)

    def one(self, query: str, *values: Any) -> Any:
        """Return the only value of a query."""
        [(value,)] = self.sql(query, *values)
        return value

    def status(self, conversation: str) -> str:
        """Return the conversation's status in Front."""
        return self.control(f"conversations/{conversation}")["status"]

    def writes(self, conversation: str | None = None) -> list[dict[str, Any]]:
        """Return the PATCH and POST calls that Front received."""
        calls = self.control("ledger/calls" + (f"?conversation={conversation}" if conversation else ""))["calls"]
        return [call for call in calls if call["method"] in {"PATCH", "POST"}]

    def close(self) -> None:
        """Stop everything."""
        self.resources.close()
        self.sandbox.stop()
        self.door.stop()


class _Door:
    intake: Intake

    def __init__(self) -> None:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                delivery = Delivery(id=uuid.uuid4().hex, received_at=datetime.now(UTC), body=body)
                door.intake.put([delivery])
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/front"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
