"""Status and doctor report the state of Mailroom, also when a part of it is down."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
import redis

from shared.db.figures import KINDS
from shared.intake.client import Intake
from shared.models import Delivery
from shared.queue import DROPPED_KEY
from tests.integration.console.rows import insert, insert_event, insert_task

if TYPE_CHECKING:
    from pathlib import Path

    from console.up.embedded import Postgres
    from tests.integration.console.conftest import Mailroom


def findings(mailroom: Mailroom, code: int = 1) -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in mailroom.json("doctor", code=code)["checks"]}


def test_an_empty_mailroom_names_every_state(mailroom: Mailroom) -> None:
    assert mailroom.json("status") == {
        "intake": {"depth": 0, "oldest_age_seconds": 0.0, "spooled": 0},
        "events": dict.fromkeys(("processing", "done", "ignored", "parked", "failed"), 0),
        "tasks": dict.fromkeys(
            ("ready", "queued", "running", "parked", "done", "failed", "discarded", "skipped", "superseded"), 0
        ),
        "last_hour": dict.fromkeys(KINDS, 0),
        "parked": [],
        "rescued": 0,
        "dropped_messages": 0,
        "token_refreshes": {},
        "retention": {
            "unclaimed_days": 30,
            "content_days": 0,
            "events_days": 0,
            "failed_days": 0,
            "deleted": {"unclaimed": 0, "bodies": 0, "events": 0, "failed": 0, "files": 0},
        },
        "refused": [],
        "dry_run": [],
        "repairs": {"under_way": [], "failed": [], "last_gap": None},
        "outages": [],
        "rate_limit": [],
        "held_endpoints": [],
        "over_quota": [],
        "erased": [],
        "processes": {"alive": [], "silent": []},
    }


def test_everything_is_counted_where_it_stands(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    insert_task(conn, insert_event(conn, state="failed"))
    insert_task(conn, insert_event(conn, front_id="evt_2", state="processing"), state="ready")
    insert_event(conn, front_id="evt_3", company="cmp_new", state="parked", cause="unknown_company")
    conn.execute("INSERT INTO counters VALUES ('rescued', 7)")
    mailroom("tenant", "pause", acme)
    status = mailroom.json("status")
    assert {state: count for state, count in status["events"].items() if count} == {"failed": 1, "parked": 2}
    assert {state: count for state, count in status["tasks"].items() if count} == {"failed": 1, "parked": 1}
    assert status["rescued"] == 7
    page = mailroom("status").stdout
    assert "parked: paused" in page
    assert "parked: unknown_company" in page


def test_an_endpoint_that_is_held_is_named(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    for name, cause in (("crm", "gone"), ("erp", "person")):
        conn.execute(
            "INSERT INTO endpoints (name, url, secret, state, held_cause, held_at)"
            " VALUES (%s, 'https://host.example', '', 'held', %s, '2026-11-30 12:00+00')",
            (name, cause),
        )
    assert [(each["name"], each["cause"], each["waiting"]) for each in mailroom.json("status")["held_endpoints"]] == [
        ("crm", "gone", 0),
        ("erp", "person", 0),
    ]
    assert "held: crm" in mailroom("status").stdout
    found = findings(mailroom)
    assert (found["endpoint held: crm"], found["endpoint held: erp"]) == (False, True)


def test_dropped_messages_are_counted(mailroom: Mailroom, redis_db: str) -> None:
    with redis.Redis.from_url(redis_db) as client:
        client.incrby(DROPPED_KEY, 1_200)
    assert mailroom.json("status")["dropped_messages"] == 1_200
    assert "1,200 entries of the queues in Redis that were no messages" in mailroom("status").stdout


def test_an_outage_is_shown_with_its_beginning(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    since = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    for what, code in (("front", "front_unavailable"), ("storage", "storage_full")):
        insert(conn, "outages", what=what, since=since, code=code, detail="details", probe_at=since)
    told = mailroom.json("status")["outages"]
    assert [(each["what"], each["code"]) for each in told] == [
        ("front", "front_unavailable"),
        ("storage", "storage_full"),
    ]
    assert datetime.fromisoformat(told[0]["since"]) == since
    page = mailroom("status").stdout
    assert "front is away" in page
    assert "storage_full" in page
    found = {check["name"]: check for check in mailroom.json("doctor", code=1)["checks"]}
    assert not found["front is away"]["ok"]
    assert "details" in found["storage is away"]["found"]


def test_waiting_deliveries_are_counted_with_their_age(
    mailroom: Mailroom, redis_db: str, conn: psycopg.Connection
) -> None:
    with redis.Redis.from_url(redis_db) as client:
        Intake(client).put([Delivery(id=uuid4().hex, received_at=datetime.now(UTC), body=b"{}") for _ in range(3)])
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    insert(conn, "spooled_deliveries", id=uuid4(), received_at=an_hour_ago, body=b"{}")
    intake = mailroom.json("status")["intake"]
    assert (intake["depth"], intake["spooled"]) == (3, 1)
    assert 3_600 <= intake["oldest_age_seconds"] < 3_660
    page = mailroom("status").stdout
    assert page.splitlines()[0].startswith("oldest unrecorded  1 h")
    assert "3, 1 spooled in PostgreSQL" in page


def test_processes_that_were_heard_of_are_alive(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    insert(conn, "processes", name="worker@a:1", kind="worker", slots=16)
    insert(conn, "processes", name="worker@a:2", kind="worker", slots=16)
    insert(conn, "processes", name="sweeper@a:3", kind="sweeper", seen_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert "2 worker (32 slots)" in mailroom("status").stdout


@pytest.mark.parametrize("kind", ["recorder", "worker", "sweeper", "console"])
def test_a_process_that_went_silent_is_named(mailroom: Mailroom, conn: psycopg.Connection, kind: str) -> None:
    """Heartbeats come every 4 s, so a frozen process is named within 20 s."""
    now = datetime.now(UTC)
    insert(conn, "processes", name=f"{kind}@a:1", kind=kind, seen_at=now - timedelta(seconds=16))
    insert(conn, "processes", name=f"{kind}@a:2", kind=kind, started_at=now - timedelta(hours=1))
    [finding] = [each for each in mailroom.json("doctor", code=1)["checks"] if each["name"] == "processes"]
    assert not finding["ok"]
    assert re.search(rf"1 {kind} alive; silent: {kind}@a:1 for \d+ s", finding["found"])
    processes = mailroom.json("status")["processes"]
    assert [each["name"] for each in processes["alive"]] == [f"{kind}@a:2"]
    assert [each["name"] for each in processes["silent"]] == [f"{kind}@a:1"]
    assert re.search(rf"{kind}@a:1 for \d+ s", mailroom("status").stdout)


@pytest.mark.parametrize(
    ("seen", "replaced_at"),
    [
        (timedelta(hours=2), None),  # forgotten
        (timedelta(minutes=5), "worker@b:1"),  # by one on another machine that started since
    ],
)
def test_a_process_that_is_gone_is_not_named_for_ever(
    mailroom: Mailroom, conn: psycopg.Connection, seen: timedelta, replaced_at: str | None
) -> None:
    insert(conn, "processes", name="worker@a:1", kind="worker", seen_at=datetime.now(UTC) - seen)
    if replaced_at:
        insert(conn, "processes", name=replaced_at, kind="worker", started_at=datetime.now(UTC))
    assert findings(mailroom)["processes"]
    assert mailroom.json("status")["processes"]["silent"] == []


@pytest.mark.parametrize(
    ("cause", "sound"),
    [("needs_reconnect", False), ("missing_scope", False), ("paused", True), ("erasing", True)],
)
@pytest.mark.usefixtures("acme")
def test_parked_tenants_are_named(mailroom: Mailroom, conn: psycopg.Connection, cause: str, sound: bool) -> None:
    insert_task(conn, insert_event(conn, state="processing"), state="ready", code=None)
    conn.execute("UPDATE tenants SET parked_cause = %s, parked_at = '2026-03-01 08:00+00'", (cause,))
    [finding] = [each for each in mailroom.json("doctor", code=1)["checks"] if each["name"] == f"parked: {cause}"]
    assert finding["ok"] is sound
    assert finding["found"] == "Acme: 1 event, since 2026-03-01 08:00:00 UTC"
    assert "mailroom" in finding["fix"] or cause == "missing_scope"
    assert mailroom.json("status")["parked"][0]["tenants"] == ["Acme"]
    assert "1 of 1 tenant, parked" in mailroom("status").stdout
    assert ": Acme; " in " ".join(mailroom("status").stdout.split())


@pytest.mark.parametrize(("worker_connections", "sound"), [(8, True), (2_000, False)])
def test_the_connections_of_all_processes_are_added_up(
    mailroom: Mailroom, conn: psycopg.Connection, worker_connections: int, sound: bool
) -> None:
    insert(conn, "processes", name="worker@a:1", kind="worker", connections=worker_connections)
    insert(conn, "processes", name="recorder@a:2", kind="recorder", connections=5)
    [finding] = [each for each in mailroom.json("doctor", code=1)["checks"] if each["name"] == "connections"]
    assert finding["ok"] is sound
    assert f"{worker_connections + 5} by 2 processes, 2 by the door" in finding["found"]
    assert "max_connections" in finding["fix"]


def test_unclaimed_mail_is_shown_and_nobodys_fault(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    insert_event(conn, company="cmp_other", state="parked", cause="unknown_company")
    [finding] = [each for each in mailroom.json("doctor", code=1)["checks"] if each["name"] == "unclaimed mail"]
    assert finding["ok"]
    assert finding["found"].startswith("1 event of 1 company without a tenant, since")


def test_status_without_redis_shows_the_rest_and_fails(mailroom: Mailroom, environment: dict[str, str]) -> None:
    environment["REDIS_URL"] = "redis://127.0.0.1:9/0"
    result = mailroom("status", "--json", code=1)
    assert json.loads(result.stdout)["intake"] == {"depth": None, "oldest_age_seconds": 0.0, "spooled": 0}
    assert "store_unavailable" in result.stderr


def test_postgresql_away_is_said_in_one_line_without_the_password(
    mailroom: Mailroom, environment: dict[str, str]
) -> None:
    environment["DATABASE_URL"] = "postgresql://mailroom:a-password@127.0.0.1:9/mailroom"
    result = mailroom("status", code=1)
    assert "store_unavailable: PostgreSQL does not answer" in result.stderr
    assert "check DATABASE_URL" in result.stderr
    assert "a-password" not in result.output


def test_missing_settings_are_a_configuration_error(mailroom: Mailroom, environment: dict[str, str | None]) -> None:
    environment["DATABASE_URL"] = None
    result = mailroom("status", code=78)
    assert "DATABASE_URL not set" in result.stderr
    assert "mailroom up" in result.stderr


def test_wrong_settings_are_a_configuration_error(mailroom: Mailroom, environment: dict[str, str]) -> None:
    environment["PORT"] = "many"
    assert "PORT" in mailroom("event", "list", code=78).stderr


@pytest.fixture
def bare_database(postgres: Postgres, environment: dict[str, str]) -> None:
    """Use a database without tables."""
    url = postgres.url_of("postgres")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS bare WITH (FORCE)")
        conn.execute("CREATE DATABASE bare")
    environment["DATABASE_URL"] = postgres.url_of("bare")


@pytest.mark.usefixtures("bare_database")
def test_a_bare_database_is_told_and_migrated(mailroom: Mailroom) -> None:
    assert "run `mailroom migrate`" in mailroom("status", code=1).stderr
    assert not findings(mailroom)["migrations"]
    assert "would apply 0001_initial\nwould apply 0002_address_keys" in mailroom("migrate", "--dry-run").stdout
    assert "applied 0001_initial" in mailroom("migrate").stdout
    assert mailroom("migrate").stdout == "the schema is up to date\n"
    mailroom.json("status")


def test_doctor_finds_a_sound_installation_sound_but_for_the_test_servers_durability(
    mailroom: Mailroom, environment: dict[str, str | None]
) -> None:
    environment |= {"FRONT_CLIENT_ID": "an-app", "FRONT_CLIENT_SECRET": "its-secret"}
    found = findings(mailroom)
    assert [name for name, ok in found.items() if not ok] == ["redis sync"]
    assert {
        "settings",
        "front_signing_keys",
        "token_keys",
        "postgresql",
        "migrations",
        "redis",
        "storage",
    } <= found.keys()


def test_doctor_names_what_is_wrong_and_how_to_mend_it(
    mailroom: Mailroom, environment: dict[str, str | None], tmp_path: Path
) -> None:
    mailroom("tenant", "add", "Acme", "--company", "cmp_acme")
    (tmp_path / "file").touch()
    wrong = {
        "FRONT_SIGNING_KEYS": None,
        "STORAGE_URL": f"file://{tmp_path}/file/below",
        "REDIS_URL": "redis://127.0.0.1:9",
    }
    environment |= wrong
    page = mailroom("doctor", code=1).stdout
    for line in (
        "WRONG front_signing_keys",
        "WRONG redis",
        "WRONG storage",
        "WRONG tenants: without a connection: Acme",
    ):
        assert line in page
    assert "mailroom tenant connect" in page


def test_doctor_goes_on_where_no_server_is_named(mailroom: Mailroom, environment: dict[str, str | None]) -> None:
    environment |= {"DATABASE_URL": None, "REDIS_URL": None}
    found = findings(mailroom)
    assert (found["postgresql"], found["redis_server"], found["storage"]) == (False, False, True)


def test_doctor_finds_a_token_that_no_key_opens(mailroom: Mailroom, acme: str, environment: dict[str, str]) -> None:
    environment["TOKEN_KEYS"] = mailroom("keys", "generate").stdout.strip()
    assert not findings(mailroom)["tokens"]


@pytest.mark.parametrize(
    "trouble",
    [
        "UPDATE connections SET refusals = 3, refused_since = '2026-03-01 08:00+00'",
        "UPDATE tenants SET parked_cause = 'needs_reconnect', parked_at = '2026-03-01 08:00+00'",
    ],
)
@pytest.mark.usefixtures("acme")
def test_a_tenant_without_new_tokens_is_named(mailroom: Mailroom, conn: psycopg.Connection, trouble: str) -> None:
    conn.execute(trouble)
    conn.commit()
    [finding] = [each for each in mailroom.json("doctor", code=1)["checks"] if each["name"] == "new tokens"]
    assert (finding["ok"], "Acme (since 2026-03-01 08:00" in finding["found"]) == (False, True)
    assert [each["tenant"] for each in mailroom.json("status")["refused"]] == ["Acme"]
    assert "Acme (since 2026-03-01 08:00" in " ".join(mailroom("status").stdout.split())
    assert "since 2026-03-01 08:00" in " ".join(mailroom("tenant", "show", "Acme").stdout.split())


def test_doctor_reports_settings_that_cannot_be_read(mailroom: Mailroom, environment: dict[str, str]) -> None:
    environment["TOKEN_KEYS"] = "no-fernet-key"
    assert findings(mailroom) == {"settings": False}


def test_doctor_names_each_mistake_of_the_settings_on_a_line(mailroom: Mailroom, environment: dict[str, str]) -> None:
    environment |= {"PORT": "many", "LOG_LEVEL": "LOUD", "TOKEN_KEYS": "short"}
    page = mailroom("doctor", code=1).stdout
    assert "\N{REPLACEMENT CHARACTER}" not in page
    wrong = [line.split(":")[1].strip() for line in page.splitlines() if line.startswith("WRONG")]
    assert sorted(wrong) == ["LOG_LEVEL", "PORT", "TOKEN_KEYS"]
    checks = mailroom.json("doctor", code=1)["checks"]
    assert [check["ok"] for check in checks] == [False, False, False]
