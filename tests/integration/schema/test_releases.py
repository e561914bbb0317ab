"""Code on a schema of another release: new code waits for `mailroom migrate`, old code goes on unless it cannot."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests
from click.testing import CliRunner, Result

from bench.harness.processes import wait_until
from console.cli import main
from shared.db.core.migrate import apply, known, migrate, require_current
from shared.errors import NotMigrated, SchemaTooNew, StoreUnavailable
from shared.intake.client import Intake
from tests.integration.console.console_process import running_console
from tests.integration.door.door_process import in_intake, running_door
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_recording import envelope
from tests.integration.start.celery_processes import COMMANDS, running, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITHIN = 30.0
NEWER, BREAKING = "9998_shade", "9999_drop_shade_after_9997"
#: It takes away what releases without our first migration need: no obstacle for us.
OF_OLDER = "9996_drop_shadow_after_0001"


@pytest.fixture
def old_schema(database: str, conn: psycopg.Connection[Any]) -> str:
    """The URL of a database that has the first migration only."""
    conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    apply(conn, known()[0])
    return database


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(database, redis_db, tmp_path / "files")
    yield harness
    harness.close()


def add_migration(conn: psycopg.Connection[Any], name: str) -> None:
    conn.execute("INSERT INTO schema_migrations (name, checksum) VALUES (%s, 'of a newer release')", (name,))


def run_migrate(database: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["migrate", *options], env={"DATABASE_URL": database})


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_process_waits_for_the_migration_and_then_works(
    kind: str, old_schema: str, redis_db: str, tmp_path: Path, conn: psycopg.Connection[Any]
) -> None:
    log = tmp_path / "log"
    environment = settings(old_schema, redis_db, tmp_path)
    with running(kind, environment, log) as process:
        assert wait_until(lambda: "run `mailroom migrate`" in log.read_text(), WITHIN)
        time.sleep(1.5)
        assert process.poll() is None
        assert conn.execute("SELECT count(*) FROM processes").fetchone() == (0,)
        assert log.read_text().count("start_waits") == 1
        migrate(old_schema)
        query = "SELECT kind FROM processes"
        assert wait_until(lambda: conn.execute(query).fetchall() == [(kind,)], WITHIN), log.read_text()


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_process_that_waits_stops_when_told(kind: str, old_schema: str, redis_db: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = settings(old_schema, redis_db, tmp_path)
    with running(kind, environment, log) as process:
        assert wait_until(lambda: "start_waits" in log.read_text(), WITHIN)
        process.terminate()
        assert process.wait(5.0) in (0, -15)


def test_the_door_keeps_webhooks_and_is_not_ready_until_the_migration(
    old_schema: str, redis_db: str, tmp_path: Path
) -> None:
    with running_door(old_schema, redis_db, tmp_path / "log") as door:
        answer = door.request("GET", "/readyz")
        assert answer.status == 503
        assert json.loads(answer.body)["checks"]["intake"] == "writable"
        assert "run `mailroom migrate`" in json.loads(answer.body)["checks"]["schema"]
        assert door.post().status == 200
        assert len(in_intake(redis_db)) == 1
        migrate(old_schema)
        assert wait_until(lambda: door.request("GET", "/readyz").status == 200, WITHIN)


def test_a_door_is_ready_while_nobody_can_tell_the_schema(redis_db: str, tmp_path: Path) -> None:
    with running_door("postgresql://127.0.0.1:9/none", redis_db, tmp_path / "log") as door:
        assert door.request("GET", "/readyz").status == 200


def test_the_console_is_not_ready_until_the_migration(old_schema: str, redis_db: str, tmp_path: Path) -> None:
    with running_console(tmp_path / "log", settings(old_schema, redis_db, tmp_path)) as console:
        answer = requests.get(f"{console.url}/readyz", timeout=10)
        assert answer.status_code == 503
        assert "run `mailroom migrate`" in answer.json()["reason"]
        migrate(old_schema)
        assert requests.get(f"{console.url}/readyz", timeout=10).json() == {"ready": True}


@pytest.mark.parametrize(
    "step_back",
    [
        "ALTER TABLE deliveries RENAME COLUMN origin TO origin_of_old",
        "ALTER TABLE events RENAME TO events_of_old",
        "ALTER TABLE events ADD CONSTRAINT old_states CHECK (state = 'ignored')",
        "ALTER TABLE events ADD COLUMN of_old integer NOT NULL",
    ],
)
def test_a_delivery_is_not_blamed_for_the_schema(
    step_back: str, harness: Harness, conn: psycopg.Connection[Any]
) -> None:
    """A delivery stays in the intake when it fails on a schema that lacks a migration."""
    harness.tenant("cmp_acme")
    conn.execute("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)")
    conn.execute(step_back.encode())
    intake: Intake = harness.resources.intake
    harness.receive(json.dumps(envelope()).encode())
    with pytest.raises(NotMigrated, match="run `mailroom migrate`"):
        harness.resources.recorder.drain()
    assert intake.depth() == 1
    assert conn.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)


def test_a_delivery_is_not_blamed_for_a_missing_privilege(
    database: str, redis_db: str, tmp_path: Path, conn: psycopg.Connection[Any]
) -> None:
    """As after a migration by another role, which owns the new tables."""
    conn.execute(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
    )
    joined = "&" if "?" in database else "?"
    limited = Harness(f"{database}{joined}options=-crole%3Dreader", redis_db, tmp_path / "files")
    limited.receive(json.dumps(envelope()).encode())
    with pytest.raises(StoreUnavailable, match="permission denied"):
        limited.resources.recorder.drain()
    assert limited.resources.intake.depth() == 1
    limited.close()


def test_old_code_goes_on_where_newer_migrations_only_add(database: str, conn: psycopg.Connection[Any]) -> None:
    add_migration(conn, NEWER)
    add_migration(conn, OF_OLDER)
    require_current(conn)
    result = run_migrate(database)
    assert result.exit_code == 0
    assert f"the schema is newer than this release: it has {OF_OLDER}, {NEWER}" in result.output
    assert "up to date" not in result.output


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_migrate_says_that_the_schema_is_newer(
    options: tuple[str, ...], database: str, conn: psycopg.Connection[Any]
) -> None:
    add_migration(conn, BREAKING)
    result = run_migrate(database, *options)
    assert f"the schema is newer than this release: it has {BREAKING}" in result.output
    assert result.exit_code == (0 if options else 1)


def test_old_code_does_not_work_where_a_newer_migration_takes_away(conn: psycopg.Connection[Any]) -> None:
    add_migration(conn, BREAKING)
    with pytest.raises(SchemaTooNew, match=f"{BREAKING} took away what it needs; run the newer release"):
        require_current(conn)


def test_doctor_names_both(database: str, redis_db: str, tmp_path: Path, conn: psycopg.Connection[Any]) -> None:
    def finding() -> dict[str, Any]:
        result = CliRunner().invoke(main, ["doctor", "--json"], env=settings(database, redis_db, tmp_path))
        [found] = [each for each in json.loads(result.stdout)["checks"] if each["name"] == "migrations"]
        return dict(found)

    add_migration(conn, NEWER)
    assert (finding()["ok"], finding()["found"]) == (True, f"applied; newer than this release: {NEWER}")
    add_migration(conn, BREAKING)
    assert not finding()["ok"]
    conn.execute("DELETE FROM schema_migrations WHERE name = %s", (known()[-1].name,))
    assert finding()["found"] == f"missing: {known()[-1].name}"
