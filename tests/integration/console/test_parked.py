"""Parked work is shown with its cause, its size, its age and its remedy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from console.cli.status import REMEDIES
from shared.db.tenants import tenants
from tests.integration.console.rows import insert, insert_event, insert_task

if TYPE_CHECKING:
    from tests.integration.console.conftest import Mailroom

NOW = datetime.now(UTC)


def park(conn: psycopg.Connection, name: str, cause: str, events: int) -> None:
    """Insert a tenant parked for six hours, with this many waiting events of two tasks each."""
    company = f"cmp_{name}"
    tenants.add(conn, name, company)
    conn.execute(
        "UPDATE tenants SET parked_cause = %s, parked_at = %s WHERE name = %s",
        (cause, NOW - timedelta(hours=6), name),
    )
    for number in range(events):
        event = insert_event(conn, front_id=f"evt_{number}", company=company, state="processing")
        for state in ("ready", "queued", "done"):
            insert_task(conn, event, state=state, code=None)


@pytest.fixture
def all_causes(conn: psycopg.Connection) -> None:
    for number, company in enumerate(("cmp_x", "cmp_x", "cmp_y")):
        parked = {"state": "parked", "cause": "unknown_company"}
        received = NOW - timedelta(days=4 - number)
        insert_event(conn, front_id=f"evt_{number}", company=company, received_at=received, **parked)
    park(conn, "revoked", "needs_reconnect", 2)
    park(conn, "another", "needs_reconnect", 0)
    park(conn, "narrow", "missing_scope", 1)
    park(conn, "resting", "paused", 0)
    park(conn, "leaving", "erasing", 0)


@pytest.mark.usefixtures("all_causes")
def test_each_cause_is_counted_with_its_age(mailroom: Mailroom) -> None:
    found = {group["cause"]: group for group in mailroom.json("status")["parked"]}
    sizes = {cause: (group["events"], group["tasks"], group["companies"]) for cause, group in found.items()}
    assert sizes == {
        "unknown_company": (3, 0, 2),
        "needs_reconnect": (2, 4, 2),
        "missing_scope": (1, 2, 1),
        "paused": (0, 0, 1),
        "erasing": (0, 0, 1),
    }
    assert datetime.fromisoformat(found["unknown_company"]["oldest_at"]) == NOW - timedelta(days=4)
    assert datetime.fromisoformat(found["needs_reconnect"]["oldest_at"]) == NOW - timedelta(hours=6)


@pytest.mark.usefixtures("all_causes")
def test_people_are_told_what_lets_each_cause_go_on(mailroom: Mailroom) -> None:
    page = " ".join(mailroom("status").stdout.split())
    assert "parked: unknown_company 3 of 2 companies, oldest 4 d; deleted after 30 d" in page
    assert "parked: needs_reconnect 2 of 2 tenants, parked 6 h" in page
    for cause, release in REMEDIES.items():
        assert f"parked: {cause}" in page
        assert release in page


@pytest.mark.usefixtures("all_causes")
def test_the_list_of_tenants_shows_how_much_waits(mailroom: Mailroom) -> None:
    waiting = {tenant["name"]: tenant["parked_tasks"] for tenant in mailroom.json("tenant", "list")}
    assert waiting == {"revoked": 4, "another": 0, "narrow": 2, "resting": 0, "leaving": 0}
    assert "needs_reconnect, 4 tasks wait" in " ".join(mailroom("tenant", "list").stdout.split())


def test_token_refreshes_are_shown_by_how_they_ended(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    for result, count in (("ok", 12), ("needs_reconnect", 1)):
        insert(conn, "counters", name=f"token_refreshes:{result}", value=count)
    assert mailroom.json("status")["token_refreshes"] == {"needs_reconnect": 1, "ok": 12}
    assert "12 ok" in mailroom("status").stdout


def test_rows_without_a_retention_are_shown_as_kept(
    mailroom: Mailroom, conn: psycopg.Connection, environment: dict[str, str]
) -> None:
    insert_event(conn, company="cmp_x", received_at=NOW, state="parked", cause="unknown_company")
    environment["RETENTION_UNCLAIMED_DAYS"] = "0"
    assert "kept for ever" in mailroom("status").stdout


def test_rows_deleted_for_their_age_are_counted(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    insert(conn, "counters", name="deleted:unclaimed", value=12)
    deleted = {"unclaimed": 12, "events": 0, "files": 0, "bodies": 0, "failed": 0}
    assert mailroom.json("status")["retention"]["deleted"] == deleted
    assert "12 unclaimed" in mailroom("status").stdout
