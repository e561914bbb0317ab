"""The schema keeps tenants apart: no row can reference a row of another tenant, with any code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.isolation.catalogue import ForeignKey, columns, foreign_keys, indexed

#: Foreign keys without the tenant between tables that have it, with the constraint that closes the gap.
WITHOUT_TENANT = {
    # Bodies that could not be read have no tenant. tasks_of_the_events_tenant covers all events that have one.
    "tasks_unowned_event_fkey": "tasks_of_the_events_tenant",
}
#: Tables without a foreign key, because it would cost a check for each message: erasing names them itself.
WITHOUT_KEY = {"outbox"}


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def keys(conn: psycopg.Connection[Any]) -> list[ForeignKey]:
    return foreign_keys(conn)


@pytest.fixture
def tenant_tables(conn: psycopg.Connection[Any]) -> set[str]:
    """Return the tables with a tenant_id."""
    return {table for table, column, _ in columns(conn) if column == "tenant_id"}


def test_every_foreign_key_between_tables_of_tenants_has_the_tenant_in_it(
    keys: list[ForeignKey], tenant_tables: set[str]
) -> None:
    between = [key for key in keys if key.table in tenant_tables and key.target in tenant_tables]
    paired = {
        key.name: ("tenant_id", "tenant_id") in zip(key.columns, key.target_columns, strict=True) for key in between
    }
    assert {name for name, has_tenant in paired.items() if not has_tenant} == WITHOUT_TENANT.keys()
    assert all(paired[instead] for instead in WITHOUT_TENANT.values())


def test_every_row_of_a_tenant_goes_with_it(keys: list[ForeignKey], tenant_tables: set[str]) -> None:
    """Cascading foreign keys reach every table but those, so no code needs a list of them."""
    gone = {"tenants"}
    while more := {key.table for key in keys if key.on_delete == "c" and key.target in gone} - gone:
        gone |= more
    assert tenant_tables - gone == WITHOUT_KEY


def test_no_deletion_reads_a_whole_table(conn: psycopg.Connection[Any], keys: list[ForeignKey]) -> None:
    """A deletion looks up the referencing rows, so an index must begin with a column of each foreign key."""
    indexes = indexed(conn)
    slow = {
        key.name
        for key in keys
        if not any(
            table == key.table
            and set(names[: len(key.columns)]) & set(key.columns)
            and names[0] in key.columns
            and condition in {"", *(f"({column} IS NOT NULL)" for column in key.columns)}
            for table, names, condition in indexes
        )
    }
    assert slow == set()


def test_an_event_cannot_be_given_to_a_tenant_of_another_company(conn: psycopg.Connection[Any]) -> None:
    first, _ = _tenants(conn)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        _event(conn, first, "cmp_b")


@pytest.mark.parametrize("column", ["tenant_id", "event_id", "attachment_id"])
def test_a_task_cannot_point_into_another_tenants_rows(conn: psycopg.Connection[Any], column: str) -> None:
    first, second = _tenants(conn)
    rows = [_with_attachment(conn, first, "cmp_a"), _with_attachment(conn, second, "cmp_b")]
    own, others = ({"tenant_id": row[0], "event_id": row[1], "attachment_id": row[2]} for row in rows)
    _task(conn, own)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        _task(conn, own | {column: others[column]})


def test_only_a_task_of_a_body_that_could_not_be_read_has_no_tenant(conn: psycopg.Connection[Any]) -> None:
    event = _event(conn, None, "")
    conn.execute("INSERT INTO tasks (event_id, kind, state) VALUES (%s, 'record', 'failed')", (event,))
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("INSERT INTO tasks (event_id, kind, state) VALUES (%s, 'apply_action', 'ready')", (event,))


def _tenants(conn: psycopg.Connection[Any]) -> list[int]:
    rows = conn.execute("INSERT INTO tenants (name, company_id) VALUES ('A', 'cmp_a'), ('B', 'cmp_b') RETURNING id")
    return [tenant_id for (tenant_id,) in rows]


def _event(conn: psycopg.Connection[Any], tenant_id: int | None, company: str) -> int:
    row = conn.execute(
        "INSERT INTO events (tenant_id, company_id, front_id, type, received_at, state)"
        " VALUES (%s, %s, 'evt_1', 'inbound_received', now(), 'failed') RETURNING id",
        (tenant_id, company),
    ).fetchone()
    assert row
    return int(row[0])


def _with_attachment(conn: psycopg.Connection[Any], tenant_id: int, company: str) -> tuple[int, int, int]:
    event = _event(conn, tenant_id, company)
    row = conn.execute(
        "INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type)"
        " VALUES (%s, %s, 'cnv_1', 'fil_1', 'a', 'b') RETURNING id",
        (tenant_id, event),
    ).fetchone()
    assert row
    return tenant_id, event, int(row[0])


def _task(conn: psycopg.Connection[Any], columns: dict[str, int]) -> None:
    conn.execute(
        "INSERT INTO tasks (tenant_id, event_id, attachment_id, kind, state)"
        " VALUES (%(tenant_id)s, %(event_id)s, %(attachment_id)s, 'store_attachment', 'ready')",
        columns,
    )
