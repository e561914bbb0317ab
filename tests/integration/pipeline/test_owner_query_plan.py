"""The owner query reads only the rows of its addresses, also right after an import, with old statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from shared.db.core.arrays import Bigints, Texts
from shared.db.recording.statements import OWNERS

USERS, ASKED = 20_000, 2_000


def test_the_owner_query_reads_only_its_addresses_right_after_an_import(database: str) -> None:
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
    """Import users in this transaction, so that autovacuum does not analyse the tables before the query."""
    conn.execute("INSERT INTO tenants (name) VALUES ('Acme')")
    conn.execute(
        "INSERT INTO users (tenant_id, external_id, name) SELECT 1, 'u' || n, 'U' FROM generate_series(1, %s) n",
        (USERS,),
    )
    conn.execute(
        "INSERT INTO user_addresses (tenant_id, address, user_id, position, as_given)"
        " SELECT tenant_id, external_id || '@acme.example', id, 1, '' FROM users"
    )
    conn.execute("ANALYZE users")  # autovacuum analyses one table after the other


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
