"""Recipients are stored as JSON in the row of their event, and the view `recipients` reads them as rows."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.schema.builders import Builder, insert_id

READ = "SELECT position, tenant_id, handle, role, user_id, reason FROM recipients WHERE event_id = %s ORDER BY position"


@pytest.fixture
def user(conn: psycopg.Connection[Any], build: Builder) -> int:
    """Insert the user Nora of Acme."""
    return insert_id(conn, "users", tenant_id=build.tenant, external_id="17", name="Nora")


def test_recipients_read_in_the_order_of_the_message(conn: psycopg.Connection[Any], build: Builder, user: int) -> None:
    nora = f'["Nora \\"N\\" Lind@acme.example", "to", {user}, "to Nora = user 17, address 1"]'
    event = build.event(recipients=f'[{nora}, ["ap@acme.example", "cc", null, "no user with ap@acme.example"]]')
    assert conn.execute(READ, (event,)).fetchall() == [
        (0, build.tenant, 'Nora "N" Lind@acme.example', "to", user, "to Nora = user 17, address 1"),
        (1, build.tenant, "ap@acme.example", "cc", None, "no user with ap@acme.example"),
    ]


def test_a_deleted_user_reads_as_nobody(conn: psycopg.Connection[Any], build: Builder, user: int) -> None:
    event = build.event(recipients=f'[["nora@acme.example", "to", {user}, "to Nora"]]')
    conn.execute("DELETE FROM users")
    assert conn.execute(READ, (event,)).fetchall() == [(0, build.tenant, "nora@acme.example", "to", None, "to Nora")]


def test_another_tenants_user_reads_as_nobody(conn: psycopg.Connection[Any], build: Builder, user: int) -> None:
    second = insert_id(conn, "tenants", name="Second", company_id="cmp_second")
    event = build.event(
        tenant_id=second, company_id="cmp_second", recipients=f'[["ola@acme.example", "to", {user}, "a mistake"]]'
    )
    assert conn.execute(READ, (event,)).fetchall() == [(0, second, "ola@acme.example", "to", None, "a mistake")]


def test_an_event_without_recipients_has_no_rows(conn: psycopg.Connection[Any], build: Builder) -> None:
    for none in (None, "[]"):
        assert conn.execute(READ, (build.event(recipients=none),)).fetchall() == []
