"""Whose an address is takes as long for a tenant's tenth user as for its ten thousandth, whatever statistics say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from shared.db.core.arrays import Bigints, Texts
from shared.db.recording.statements import OWNERS

USERS, ASKED = 20_000, 2_000


def test_no_more_is_read_than_was_asked_for_right_after_an_import(database: str) -> None:
    with psycopg.connect(database) as conn:
        _import(conn)
        conn.execute("SET LOCAL enable_seqscan = off")  # as recording does
        tenants = Bigints([1] * ASKED)
        row = conn.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {OWNERS}",
            (tenants, Texts(f"u{number}@acme.example" for number in range(1, ASKED + 1))),
        ).fetchone()
    assert row
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in _nodes(row[0][0]["Plan"])) == ASKED


def _import(conn: psycopg.Connection[Any]) -> None:
    """In this transaction, so that nothing else analyses the tables before they are asked."""
    conn.execute("INSERT INTO tenants (name) VALUES ('Acme')")
    conn.execute(
        "INSERT INTO users (tenant_id, external_id, name) SELECT 1, 'u' || n, 'U' FROM generate_series(1, %s) n",
        (USERS,),
    )
    conn.execute(
        "INSERT INTO user_addresses (tenant_id, address, user_id, position, as_given)"
        " SELECT tenant_id, external_id || '@acme.example', id, 1, '' FROM users"
    )
    conn.execute("ANALYZE users")  # autovacuum takes one table after the other


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
