"""Figures by the minute: added up by whoever writes, kept for 30 days, and gone with their tenant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.db import figures
from shared.db.figures import KINDS, Tally
from tests.integration.schema.builders import insert_id

if TYPE_CHECKING:
    import psycopg

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def add(conn: psycopg.Connection[Any], tenant: int | None, **counts: int) -> None:
    tally = Tally()
    for kind, count in counts.items():
        tally.add(kind, NOON, {tenant: count})
    figures.add(conn, tally)


def test_counts_add_up_for_the_tenant_and_for_all(conn: psycopg.Connection[Any]) -> None:
    acme = insert_id(conn, "tenants", name="Acme", company_id="cmp_a")
    add(conn, acme, received=2, recorded=1)
    add(conn, acme, received=3, calls=4, calls_refused=1)
    add(conn, None, received=1, parked=1)
    [own] = figures.by_minute(conn, NOON - timedelta(hours=1), tenant_id=acme)
    [all_] = figures.by_minute(conn, NOON - timedelta(hours=1))
    assert (own.minute, own.received, own.recorded, own.calls, own.calls_refused) == (
        NOON.replace(second=0), 5, 1, 4, 1,
    )  # fmt: skip
    assert (all_.received, all_.recorded, all_.parked) == (6, 1, 1)
    assert figures.sums(conn, NOON - timedelta(hours=1)).received == 6
    assert figures.by_minute(conn, NOON + timedelta(minutes=1)) == []


def test_each_kind_has_a_column(conn: psycopg.Connection[Any]) -> None:
    add(conn, None, **{kind: place for place, kind in enumerate(KINDS, 1)})
    [found] = figures.by_minute(conn, NOON - timedelta(hours=1))
    assert [getattr(found, kind) for kind in KINDS] == list(range(1, len(KINDS) + 1))


def test_what_a_worker_counted_for_an_erased_tenant_counts_for_all_only(conn: psycopg.Connection[Any]) -> None:
    gone = insert_id(conn, "tenants", name="Gone", company_id="cmp_g")
    add(conn, gone, done=1)
    conn.execute("DELETE FROM tenants")
    assert figures.by_minute(conn, NOON - timedelta(hours=1), tenant_id=gone) == []
    add(conn, gone, done=1)
    assert figures.by_minute(conn, NOON - timedelta(hours=1), tenant_id=gone) == []
    assert figures.sums(conn, NOON - timedelta(hours=1)).done == 2


def test_figures_of_more_than_30_days_ago_are_deleted(conn: psycopg.Connection[Any]) -> None:
    tally = Tally()
    now = datetime.now(UTC)
    for days in (1, 29, 31, 40, 50):
        tally.add("received", now - timedelta(days=days), {None: 1})
    figures.add(conn, tally)
    assert [figures.delete_old(conn, limit=2) for _ in range(3)] == [2, 1, 0]
    assert figures.sums(conn, now - timedelta(days=60)).received == 2


def test_totals_never_shrink(conn: psycopg.Connection[Any]) -> None:
    acme = insert_id(conn, "tenants", name="Acme", company_id="cmp_a")
    tally = Tally()
    now = datetime.now(UTC)
    for days in (1, 31, 40):
        tally.add("received", now - timedelta(days=days), {acme: 2, None: 1})
    figures.add(conn, tally)
    before = figures.totals(conn)
    assert (before.received, before.failed) == (9, 0)
    assert [figures.delete_old(conn, limit=1) for _ in range(5)] == [1, 1, 1, 1, 0]
    assert figures.totals(conn) == before
