"""Mailroom with all its processes on given servers, and a small Front beside it."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, LiteralString, Self

import psycopg
import redis
import requests
from cryptography.fernet import Fernet
from pydantic import SecretStr

from bench.harness.platform import Platform
from bench.harness.ports import free_ports
from bench.harness.processes import wait_until
from bench.harness.sandbox import Door, start_sandbox
from bench.harness.small_front import SmallFront
from shared.connection.vault import TokenVault
from shared.db.core.pool import Pool
from shared.db.tenants import connections, tenants
from shared.db.tenants.tenants import PolicyChange
from shared.db.users import users
from shared.errors import StoreUnavailable
from shared.intake.client import STREAM, Intake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set
    from pathlib import Path

    from shared.db.core.pool import Connection

#: A setting of the person who measures must not change what is seen.
KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
STARTS_WITHIN = 90.0
BEHIND_THE_DOOR = {"recorder", "worker", "sweeper"}
OPEN = "state IN ('ready', 'queued', 'running')"


class Mailroom:
    """One Mailroom on an empty database and Redis; `front` are options of the sandbox, `pool` is Celery's."""

    def __init__(  # noqa: PLR0913 -- what a run may choose, each named at the call
        self,
        urls: tuple[str, str],
        folder: Path,
        *,
        counts: Mapping[str, int],
        front: Sequence[str],
        settings: Mapping[str, str],
        pool: str = "threads",
    ) -> None:
        self.port, self._sandbox_port = free_ports(2)
        self._token_key, self._signing_key = Fernet.generate_key().decode(), secrets.token_hex(32)
        self.database_url, self.redis_url = urls
        self.folder = folder
        self.environment = self._environment() | dict(settings)
        self.front = SmallFront(self._sandbox_port, folder / "sandbox" / "ledger.jsonl")
        self.platform = Platform(self.environment, folder)
        self._counts = counts
        self._task_pool = pool
        self._front_options = front
        self._stack = ExitStack()
        self._pool: Pool

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._pool = stack.enter_context(Pool(self.database_url, size=2, application_name="bench"))
            stack.enter_context(self.platform)
            self.start_sandbox()
            self.platform.procfile(self._counts, pool=self._task_pool)
            expect(self.is_ready, STARTS_WITHIN, f"Mailroom is ready, see {self.folder}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_sandbox(self) -> None:
        """Start the small Front; return when it listens."""
        door = Door(port=self.port, signing_key=self._signing_key)
        start_sandbox(self.platform, self.front, door, self._front_options)

    def tenant(self, company: str, *addresses: str, action: str = "archive", token: str | None = None) -> int:
        """Found the company at Front and connect it as a tenant with a user for each address; the tenant's id."""
        token = token or self.front.found(company)
        vault = TokenVault([SecretStr(self._token_key)])

        def add(conn: Connection) -> int:
            tenant_id = tenants.add(conn, company, company)
            secret = vault.seal(tenant_id, {"access_token": token})
            connections.connect(conn, tenant_id, kind="api_token", secret=secret)
            tenants.set_policy(conn, tenant_id, PolicyChange(action=action))
            for address in addresses:
                given = users.Address(key=address.casefold(), as_given=address)
                users.add(conn, tenant_id, users.NewUser(external_id=address, name="", action=None, addresses=(given,)))
            return tenant_id

        return self._pool.run(add)

    def reconnect(self, tenant_id: int, token: str) -> None:
        """Give the tenant another API token, as `mailroom tenant connect` does."""
        secret = TokenVault([SecretStr(self._token_key)]).seal(tenant_id, {"access_token": token})
        self._pool.run(lambda conn: connections.connect(conn, tenant_id, kind="api_token", secret=secret))

    def rows(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """What the database has. Raises StoreUnavailable while it is away."""
        return self._pool.run(lambda conn: conn.execute(query, values).fetchall())

    def redis(self) -> redis.Redis:
        """A client that waits for no more than two seconds."""
        return redis.Redis.from_url(self.redis_url, socket_timeout=2, socket_connect_timeout=2)

    def intake_depth(self) -> int:
        """How many deliveries are not recorded yet. Raises StoreUnavailable while Redis is away."""
        with self.redis() as client:
            return Intake(client).depth()

    def unsettled(self) -> str:
        """What is still to be done, in words; nothing when all is finished or parked, and nobody is sending."""
        waits = {"deliveries at Front": self.front.verdict()["pending"]}
        try:
            waits["intake"] = self.intake_depth()
            [(waits["spooled"],)] = self.rows("SELECT count(*) FROM spooled_deliveries")
            [(waits["open tasks"],)] = self.rows(f"SELECT count(*) FROM tasks WHERE {OPEN}")
        except (StoreUnavailable, psycopg.Error) as error:
            return str(error)
        return ", ".join(f"{count} {what}" for what, count in waits.items() if count)

    def unrecorded(self, acknowledged: Set[str]) -> set[str]:
        """Those of the events that are not exactly one row."""
        rows = Counter(front_id for (front_id,) in self.rows("SELECT front_id FROM events"))
        return {event_id for event_id in acknowledged if rows[event_id] != 1}

    def unfinished(self, events: Set[str]) -> set[str]:
        """Those of the events that still are to be recorded or worked on: late, and not lost."""
        query = f"SELECT front_id FROM events WHERE id IN (SELECT event_id FROM tasks WHERE {OPEN})"
        waiting = [bytes(body) for (body,) in self.rows("SELECT body FROM spooled_deliveries")]
        with self.redis() as client:
            waiting += [fields.get(b"body", b"") for _, fields in client.xrange(STREAM)]
        open_ = {front_id for (front_id,) in self.rows(query)}
        return {each for each in events if each in open_ or any(each.encode() in body for body in waiting)}

    def is_ready(self) -> bool:
        """Whether the door answers and every kind of process behind it has said that it lives."""
        try:
            answers = requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).ok
            alive = self.rows("SELECT kind FROM processes WHERE seen_at > now() - interval '15 seconds'")
        except (requests.RequestException, StoreUnavailable):
            return False
        return answers and {kind for (kind,) in alive} >= BEHIND_THE_DOOR

    def _environment(self) -> dict[str, str]:
        front = f"http://127.0.0.1:{self._sandbox_port}"
        return {
            **surroundings(),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "MAILROOM_DATA": str(self.folder / "data"),
            "FRONT_API_URL": front,
            "FRONT_APP_URL": front,
            "FRONT_SIGNING_KEYS": self._signing_key,
            "TOKEN_KEYS": self._token_key,
            "PORT": str(self.port),
        }


def surroundings() -> dict[str, str]:
    """The environment of any process: our programs come first, and no setting of the person who measures."""
    programs = os.path.dirname(sys.executable)  # noqa: PTH120 -- a symbolic link must not be followed
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PATH": os.pathsep.join([programs, kept.get("PATH", os.defpath)]), "PYTHONUNBUFFERED": "1"}


def expect(fact: Any, seconds: float, what: str) -> None:
    """Return when the fact is true; fail when it is not in time."""
    assert wait_until(fact, seconds, every=0.1), f"not within {seconds:g} s: {what}"
