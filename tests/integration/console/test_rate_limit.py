"""Status and doctor tell how a tenant fares at Front's rate limit."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import redis

from shared.connection.budget import Budget, Reservation
from tests.integration.console.rows import insert_event, insert_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.integration.console.conftest import Mailroom

BEGINNING = datetime.now(UTC) - timedelta(minutes=48)


@pytest.fixture
def client(redis_db: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_db) as client:
        yield client


def make_calls(client: redis.Redis, company: str, *, used: int, wasted: int, minutes_ago: int = 1) -> None:
    """Count calls of the company, and date them back."""
    budget = Budget(client)
    budget.learn(company, limit=used + 1, remaining=None, reset_at=None)
    if used:
        budget.reserve(company, Reservation(), used)
    budget.note_wasted(company, wasted)
    [key] = client.keys(f"mailroom:front:counts:{company}:*")
    minute = int(time.time() // 60) - minutes_ago
    client.rename(key, f"mailroom:front:counts:{company}:{minute}")


def hold_back(conn: psycopg.Connection, tenant: str = "Acme", *, minutes_ago: float = 0.0) -> None:
    conn.execute(
        "UPDATE tenants SET at_limit_at = now() - make_interval(secs => %s) WHERE name = %s",
        (60 * minutes_ago, tenant),
    )


def wait_with(conn: psycopg.Connection, count: int, **columns: Any) -> None:
    """Insert so many events, each with a task that is due."""
    for _ in range(count):
        event = insert_event(conn, front_id=f"evt_{uuid4().hex}", state="processing")
        task = {"state": "ready", "due_at": datetime.now(UTC), "created_at": BEGINNING}
        insert_task(conn, event, **(task | columns))


def findings(mailroom: Mailroom) -> dict[str, Any]:
    return {check["name"]: check for check in mailroom.json("doctor", code=1)["checks"]}


@pytest.mark.usefixtures("acme")
def test_the_calls_and_the_backlog_of_a_tenant_at_the_limit_are_shown(
    mailroom: Mailroom, conn: psycopg.Connection, client: redis.Redis
) -> None:
    wait_with(conn, 3)
    wait_with(conn, 2, is_live=True, created_at=datetime.now(UTC))
    wait_with(conn, 1, due_at=datetime.now(UTC) + timedelta(hours=1))
    hold_back(conn)
    make_calls(client, "cmp_acme", used=117, wasted=4)
    [told] = mailroom.json("status")["rate_limit"]
    assert {name: told[name] for name in ("tenant", "limit", "used", "wasted", "waiting", "waiting_live")} == {
        "tenant": "Acme",
        "limit": 118,
        "used": 117,
        "wasted": 4,
        "waiting": 3,
        "waiting_live": 2,
    }
    assert abs(datetime.fromisoformat(told["oldest_at"]) - BEGINNING) < timedelta(seconds=1)
    page = mailroom("status").stdout
    assert "limit of Acme" in page
    assert "118 calls a minute: 117 used, 4 wasted; 3 and 2 live wait, oldest 48 min" in " ".join(page.split())


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(("minutes_ago", "parked"), [(None, None), (6.0, None), (0.0, "paused")])
def test_a_tenant_that_the_limit_does_not_hold_back_is_not_shown(
    mailroom: Mailroom, conn: psycopg.Connection, minutes_ago: float | None, parked: str | None
) -> None:
    wait_with(conn, 1)
    if minutes_ago is not None:
        hold_back(conn, minutes_ago=minutes_ago)
    conn.execute("UPDATE tenants SET parked_cause = %s", (parked,))
    assert mailroom.json("status")["rate_limit"] == []
    assert "limit of" not in mailroom("status").stdout
    assert "limit of Acme" not in findings(mailroom)


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("used", "wasted", "ok"), [(100, 0, True), (100, 20, True), (100, 21, False), (3, 3, False), (0, 0, True)]
)
def test_doctor_finds_calls_made_in_vain(
    mailroom: Mailroom, conn: psycopg.Connection, client: redis.Redis, used: int, wasted: int, ok: bool
) -> None:
    hold_back(conn)
    make_calls(client, "cmp_acme", used=used, wasted=wasted)
    found = findings(mailroom)["limit of Acme"]
    assert found["ok"] is ok
    assert f"{used} of {used + 1} calls" in found["found"]


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("minutes_ago", [0, 2])
def test_only_the_last_whole_minute_counts(
    mailroom: Mailroom, conn: psycopg.Connection, client: redis.Redis, minutes_ago: int
) -> None:
    hold_back(conn)
    make_calls(client, "cmp_acme", used=100, wasted=50, minutes_ago=minutes_ago)
    [told] = mailroom.json("status")["rate_limit"]
    assert (told["used"], told["wasted"]) == (0, 0)


@pytest.mark.usefixtures("acme")
def test_without_redis_the_backlog_is_shown_and_the_calls_are_unknown(
    mailroom: Mailroom, conn: psycopg.Connection, environment: dict[str, str]
) -> None:
    wait_with(conn, 1)
    hold_back(conn)
    environment["REDIS_URL"] = "redis://127.0.0.1:9/0"
    [told] = mailroom.json("status", code=1)["rate_limit"]
    assert (told["limit"], told["used"], told["wasted"], told["waiting"]) == (None, None, None, 1)
    assert "calls unknown: Redis does not answer; 1 wait" in " ".join(mailroom("status", code=1).stdout.split())


def test_of_many_tenants_five_have_a_line(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    for number in range(7):
        name, company = f"Tenant {number}", f"cmp_{number}"
        conn.execute("INSERT INTO tenants (name, company_id, at_limit_at) VALUES (%s, %s, now())", (name, company))
    assert len(mailroom.json("status")["rate_limit"]) == 7
    page = mailroom("status").stdout
    assert page.count("calls a minute") == 5
    assert "2 more tenants" in page
