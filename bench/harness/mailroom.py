"""Mailroom with all its processes on given servers, a small Front beside it, and a backlog in its tables."""

from __future__ import annotations

import secrets
from collections import Counter
from contextlib import ExitStack
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, LiteralString, Self

import psycopg
import redis
import requests
from cryptography.fernet import Fernet
from pydantic import SecretStr

from bench.harness.mail import order
from bench.harness.platform import OUR_APP, Door, Platform, base_environment, procfile_commands, start_sandbox
from bench.harness.ports import free_ports
from bench.harness.processes import expect
from bench.harness.small_front import SmallFront
from console.access.actor import command_line_actor
from console.issued_secrets import digest_of, new_api_token
from console.operations.endpoints import add_endpoint, release_endpoint
from shared.connection.vault import TokenVault
from shared.db.core.pool import Pool
from shared.db.host.endpoints import NewEndpoint
from shared.db.tenants import api_tokens, connections, tenants
from shared.db.tenants.tenants import PolicyChange
from shared.db.users import users
from shared.errors import StoreUnavailable
from shared.intake.client import Intake
from shared.intake.streams import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set
    from pathlib import Path

    from shared.db.core.pool import Connection

STARTS_WITHIN = 90.0
BEHIND_THE_DOOR = ("recorder", "worker", "sweeper")
OPEN = "state IN ('ready', 'queued', 'running')"
#: Backlog events that one order to the small Front makes.
BATCH = 5_000
ACTOR = command_line_actor("bench")
#: Host applications are on this machine.
LOOPBACK = "127.0.0.1/32"


class Mailroom:
    """One Mailroom on an empty database and Redis; `front` are options of the sandbox, `pool` is Celery's.

    `app` names the module of the Celery application: another one may shorten waits of the product.
    """

    def __init__(  # noqa: PLR0913 -- the choices of a run, each named at the call
        self,
        urls: tuple[str, str],
        folder: Path,
        *,
        counts: Mapping[str, int],
        front: Sequence[str],
        settings: Mapping[str, str],
        pool: str = "threads",
        app: str = OUR_APP,
    ) -> None:
        self.port, self._sandbox_port, self._console_port = free_ports(3)
        self._token_key, self._signing_key = Fernet.generate_key().decode(), secrets.token_hex(32)
        self._secret_key = secrets.token_hex(32)
        self.database_url, self.redis_url = urls
        self.folder = folder
        self.environment = self._environment() | dict(settings)
        self.front = SmallFront(self._sandbox_port, folder / "sandbox" / "ledger.jsonl")
        self.platform = Platform(self.environment, folder)
        self._counts = counts
        self._task_pool = pool
        self._app = app
        self._front_options = front
        self._stack = ExitStack()
        self._pool: Pool

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._pool = stack.enter_context(Pool(self.database_url, size=2, application_name="bench"))
            stack.enter_context(self.platform)
            self.start_sandbox()
            self._start_processes()
            expect(self.is_ready, STARTS_WITHIN, f"Mailroom is ready, see {self.folder}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_processes(self) -> None:
        self.platform.procfile(self._counts, pool=self._task_pool, app=self._app)

    def start_sandbox(self) -> None:
        """Start the small Front and wait until it listens."""
        door = Door(port=self.port, signing_key=self._signing_key)
        start_sandbox(self.platform, self.front, door, self._front_options)

    def tenant(self, company: str, *addresses: str, action: str = "archive", token: str | None = None) -> int:
        """Create the company at Front and connect it as a tenant with a user for each address; return its id."""
        token = token or self.front.create(company)
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

    def endpoint(self, name: str, url: str, **parts: Any) -> tuple[int, str]:
        """Add an endpoint of the host application on this machine; return its id and its secret."""
        vault, networks = TokenVault([SecretStr(self._token_key)]), [IPv4Network(LOOPBACK)]
        new = add_endpoint(self._pool.run, ACTOR, NewEndpoint(name=name, url=url, **parts), vault, networks)
        return new.endpoint.id, new.secret

    def release(self, endpoint_id: int) -> None:
        """Release a held endpoint, as a person does."""
        release_endpoint(self._pool.run, ACTOR, endpoint_id)

    def api_token(self, name: str) -> str:
        """Make a token with which a host application may read messages."""
        token = new_api_token()
        new = api_tokens.NewApiToken(
            name=name, digest=digest_of(token), scope="messages", tenant_id=None, valid_for=None
        )
        self._pool.run(lambda conn: api_tokens.add(conn, new))
        return token

    def start_console(self) -> None:
        """Start the console, which serves the feed, and wait until it answers."""
        self.platform.run("console", procfile_commands()["console"])
        expect(self._console_answers, STARTS_WITHIN, f"the console answers, see {self.folder}")

    @property
    def console_url(self) -> str:
        """The address of the console."""
        return f"http://127.0.0.1:{self._console_port}"

    def _console_answers(self) -> bool:
        try:
            return requests.get(f"{self.console_url}/livez", timeout=5).ok
        except requests.RequestException:
            return False

    def rows(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Raises StoreUnavailable while the database is away."""
        return self._pool.run(lambda conn: conn.execute(query, values).fetchall())

    def redis(self) -> redis.Redis:
        """Return a client that waits for two seconds at most."""
        return redis.Redis.from_url(self.redis_url, socket_timeout=2, socket_connect_timeout=2)

    def intake_depth(self) -> int:
        """Count the deliveries that are not recorded yet. Raises StoreUnavailable while Redis is away."""
        with self.redis() as client:
            return Intake(client).depth()

    def unsettled(self) -> str:
        """Describe the work that is left; empty when all is finished or parked, and nobody is sending."""
        waits = {"deliveries at Front": self.front.verdict()["pending"]}
        try:
            waits["intake"] = self.intake_depth()
            [(waits["spooled"],)] = self.rows("SELECT count(*) FROM spooled_deliveries")
            [(waits["open tasks"],)] = self.rows(f"SELECT count(*) FROM tasks WHERE {OPEN}")
        except (StoreUnavailable, psycopg.Error) as error:
            return str(error)
        return ", ".join(f"{count} {what}" for what, count in waits.items() if count)

    def unrecorded(self, acknowledged: Set[str]) -> set[str]:
        """Return those of the events that are not exactly one row."""
        rows = Counter(front_id for (front_id,) in self.rows("SELECT front_id FROM events"))
        return {event_id for event_id in acknowledged if rows[event_id] != 1}

    def unfinished(self, events: Set[str]) -> set[str]:
        """Return those of the events that are still to be recorded or worked on: they are late, not lost."""
        query = f"SELECT front_id FROM events WHERE id IN (SELECT event_id FROM tasks WHERE {OPEN})"
        waiting = [bytes(body) for (body,) in self.rows("SELECT body FROM spooled_deliveries")]
        with self.redis() as client:
            waiting += [fields.get(b"body", b"") for _, fields in client.xrange(STREAM)]
        open_ = {front_id for (front_id,) in self.rows(query)}
        return {each for each in events if each in open_ or any(each.encode() in body for body in waiting)}

    def is_ready(self) -> bool:
        """Tell whether the door answers and every kind of process behind it has sent a heartbeat."""
        try:
            answers = requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).ok
            alive = self.rows("SELECT kind FROM processes WHERE seen_at > now() - interval '15 seconds'")
        except (requests.RequestException, StoreUnavailable):
            return False
        return answers and {kind for (kind,) in alive} >= set(BEHIND_THE_DOOR)

    def _environment(self) -> dict[str, str]:
        front = f"http://127.0.0.1:{self._sandbox_port}"
        return {
            **base_environment(),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "MAILROOM_DATA": str(self.folder / "data"),
            "FRONT_API_URL": front,
            "FRONT_APP_URL": front,
            "FRONT_SIGNING_KEYS": self._signing_key,
            "TOKEN_KEYS": self._token_key,
            "PORT": str(self.port),
            "CONSOLE_PORT": str(self._console_port),
            "PUBLIC_URL": self.console_url,
            "SECRET_KEY": self._secret_key,
            "ENDPOINT_NETWORKS": LOOPBACK,
        }


def add_backlog(mailroom: Mailroom, companies: Iterable[str], each: int) -> int:
    """Insert this many waiting actions for each company, as if recorded a moment ago; return how many in all.

    The events are real ones of the small Front, which sends no webhooks for them.
    """
    total = 0
    with psycopg.connect(mailroom.database_url) as conn:
        for company in companies:
            for began in range(0, each, BATCH):
                total += _insert(conn, company, _unsent_events(mailroom, company, min(BATCH, each - began)))
                conn.commit()
    return total


def drop_backlog(mailroom: Mailroom) -> int:
    """Discard the tasks that were not started, as a person would; return how many."""
    with psycopg.connect(mailroom.database_url) as conn:
        return conn.execute(
            """
            WITH dropped AS (
                UPDATE tasks SET state = 'discarded', settled_at = now() WHERE state = 'ready' RETURNING event_id
            ), closed AS (
                UPDATE actions SET state = 'discarded' WHERE event_id IN (SELECT event_id FROM dropped)
            )
            UPDATE events SET state = 'done' WHERE id IN (SELECT event_id FROM dropped)
            """
        ).rowcount


def _unsent_events(mailroom: Mailroom, company: str, count: int) -> list[dict[str, Any]]:
    unsent = order(company, count=count, deliver=False)
    events: list[dict[str, Any]] = mailroom.front.send("inbound_received", company, **unsent)["events"]
    return events


def _insert(conn: psycopg.Connection, company: str, events: list[dict[str, Any]]) -> int:
    columns = [[event[name] for event in events] for name in ("event_id", "conversation_id", "message_id")]
    return conn.execute(
        """
        WITH happened AS (
            INSERT INTO events (company_id, front_id, tenant_id, type, conversation_id, message_id, emitted_at,
                                received_at, state)
            SELECT company_id, event, tenants.id, 'inbound_received', conversation, message, now(), now(), 'processing'
            FROM tenants, unnest(%s::text[], %s::text[], %s::text[]) AS front(event, conversation, message)
            WHERE company_id = %s RETURNING id, tenant_id, conversation_id, emitted_at
        ), planned AS (
            INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at)
            SELECT id, tenant_id, conversation_id, 'archive', 'stored', 'planned', 'backlog', emitted_at FROM happened
        )
        INSERT INTO tasks (tenant_id, event_id, kind, state)
        SELECT tenant_id, id, 'apply_action', 'ready' FROM happened
        """,
        (*columns, company),
    ).rowcount
