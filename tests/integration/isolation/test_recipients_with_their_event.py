"""Recipients stand in their event's row and read as rows: so do old ones, and those of an older release's recorder."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from console.embedded import Postgres
from shared.db.migrate import apply, known

TOGETHER = "0022_recipients_with_their_event"
WRITE = "INSERT INTO recipients (event_id, position, tenant_id, handle, role, user_id, reason) VALUES "
READ = "SELECT event_id, position, tenant_id, handle, role, user_id, reason FROM recipients ORDER BY event_id, position"
ROWS = [
    (1, 0, 1, 'Nora "N" Lind@acme.example', "to", 1, "to Nora = user 17, address 1"),
    (1, 1, 1, "ap@acme.example", "cc", None, "no user with ap@acme.example"),
    (2, 0, 1, "desk@acme.example", "to", None, "no user with desk@acme.example"),
]


@pytest.fixture
def conn(postgres: Postgres) -> Iterator[psycopg.Connection]:
    """A database as it was before, with two tenants, a user of each, and two events of the first."""
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE before_them")
        with psycopg.connect(postgres.url_of("before_them"), autocommit=True) as conn:
            for migration in known():
                if migration.name < TOGETHER:
                    apply(conn, migration)
            conn.execute("INSERT INTO tenants (name, company_id) VALUES ('Acme', 'cmp_1'), ('Other', 'cmp_2')")
            conn.execute("INSERT INTO users (tenant_id, external_id, name) VALUES (1, '17', 'Nora'), (2, '9', 'Ola')")
            conn.execute("""
                INSERT INTO events (company_id, front_id, tenant_id, type, received_at, state)
                SELECT 'cmp_1', 'evt_' || n, 1, 'inbound_received', now(), 'done' FROM generate_series(1, 2) n
            """)
            yield conn
        server.execute("DROP DATABASE before_them WITH (FORCE)")


def write(conn: psycopg.Connection) -> None:
    """As the recorder of the release before did: one statement for all."""
    values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(ROWS))
    conn.execute((WRITE + values).encode(), [value for row in ROWS for value in row])


def upgrade(conn: psycopg.Connection) -> None:
    for migration in known():
        if migration.name >= TOGETHER:
            apply(conn, migration)


@pytest.mark.parametrize("steps", [(write, upgrade), (upgrade, write)], ids=["stored before", "an older recorder's"])
def test_recipients_read_as_they_were_written(conn: psycopg.Connection, steps: tuple[object, object]) -> None:
    for step in steps:
        assert callable(step)
        step(conn)
    assert conn.execute(READ).fetchall() == ROWS
    conn.execute("DELETE FROM users WHERE id = 1")
    assert [user for (user,) in conn.execute("SELECT user_id FROM recipients")] == [None] * 3


def test_another_tenants_user_is_nobody(conn: psycopg.Connection) -> None:
    upgrade(conn)
    conn.execute("""UPDATE events SET recipients = '[["ola@acme.example", "to", 2, "a mistake"]]' WHERE id = 1""")
    assert conn.execute("SELECT handle, user_id FROM recipients").fetchall() == [("ola@acme.example", None)]
