"""A host application as a process, and a Mailroom that sends to it, one message after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from console.access.actor import command_line_actor
from console.operations import endpoints as operations
from shared.db.host import outbox
from shared.db.host.endpoints import Endpoint, NewEndpoint
from shared.queue import NOTIFY
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from workers.notifying.notify import run_notification

PROGRAM = Path(__file__).parent / "application.py"
COMPANY = "cmp_acme"
MOST_ROUNDS = 100
ACTOR = command_line_actor("tester")


class HostApplication:
    """The process of `application.py`."""

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen([sys.executable, str(PROGRAM), str(port)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def behave(self, **behaviour: Any) -> None:
        """Answer like this from now on."""
        assert requests.post(f"http://127.0.0.1:{self.port}/behave", json=behaviour, timeout=30).ok

    def received(self) -> list[dict[str, Any]]:
        """Return the notifications that came, in their order."""
        return requests.get(f"http://127.0.0.1:{self.port}/received", timeout=30).json()

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> HostApplication:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Mailroom(Harness):
    """A harness whose tenant has a user and, if a test adds them, endpoints."""

    def connect(self, **policy: Any) -> int:
        """Add a tenant with one user."""
        tenant_id = self.tenant(COMPANY, **policy)
        self.user(tenant_id, NORA)
        return tenant_id

    def add_endpoint(self, host: HostApplication | str, name: str = "app", **parts: Any) -> Endpoint:
        """Add an endpoint; a host application judges its signatures from now on."""
        url = host if isinstance(host, str) else host.url
        new = operations.add_endpoint(
            self.resources.pool.run,
            ACTOR,
            NewEndpoint(name=name, url=url, **parts),
            self.resources.vault,
            self.settings.endpoint_networks,
        )
        if isinstance(host, HostApplication):
            host.behave(secrets=[new.secret])
        self.secret = new.secret
        return new.endpoint

    def receive_mail(self, count: int = 1, **order: Any) -> list[dict[str, Any]]:
        """Have Front send mails, record them, and number what there is to tell."""
        events = self.send("inbound_received", COMPANY, count=count, recipients=TO_NORA, **order)
        self.record()
        self.number()
        return events

    def number(self) -> None:
        """Number all notifications."""
        while self.resources.pool.run(outbox.number) == outbox.AT_ONCE:
            pass

    def queued(self) -> list[int]:
        """Have the dispatcher queue notifications, and return the numbers of their tasks."""
        self.resources.dispatcher.send_notifications()
        return self.taken()

    def taken(self) -> list[int]:
        """Take the messages about notifications out of the queue."""
        found = [args[0] for name, args in self.messages.sent if name == NOTIFY]
        self.messages.sent = [each for each in self.messages.sent if each[0] != NOTIFY]
        return found

    def notify(self, rounds: int = MOST_ROUNDS) -> int:
        """Send notifications until none is due, and return the number of attempts."""
        attempts = 0
        for _ in range(rounds):
            self.number()
            self.sql("UPDATE endpoints SET not_before = '-infinity' WHERE state = 'open'")
            todo = self.taken() or self.queued()
            if not todo:
                return attempts
            for task_id in todo:
                self.notify_one(task_id)
                attempts += 1
        if rounds > MOST_ROUNDS // 2:
            raise AssertionError("the work does not end")
        return attempts

    def notify_one(self, task_id: int) -> None:
        """Run one attempt."""
        run_notification(self.resources, task_id)

    def endpoint_row(self, name: str = "app") -> dict[str, Any]:
        """Return an endpoint's row."""
        return self.one("SELECT to_jsonb(e) FROM endpoints e WHERE name = %s", name)

    def tasks(self, columns: str = "state") -> list[Any]:
        """Return one column of the tasks that notify, by position."""
        query = f"SELECT t.{columns} FROM tasks t WHERE t.kind = 'notify' ORDER BY t.position, t.endpoint_id"
        return [value for (value,) in self.sql(query)]
