"""Everything works through a PgBouncer in transaction mode, and leaves nothing in the sessions it shares."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from bench.harness.processes import wait_until
from console.cli import main
from shared.db.core.locks import SWEEPER, Role
from shared.db.core.migrate import known, migrate
from shared.db.core.session import session
from shared.errors import StoreUnavailable
from shared.queue import RECORD_INTAKE, celery_app, send
from tests.integration.door.door_process import delivery_ids, in_spool, running_door, statuses
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.running_worker import running_worker
from tests.pgbouncer import running_pgbouncer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from console.up.embedded import Postgres

EVENTS = 300
NORA = {"handle": "nora@acme.example", "role": "to"}
LEFT_BEHIND = """
    SELECT (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
        current_setting('statement_timeout'), current_setting('lock_timeout')
"""


@pytest.fixture(params=["transaction", "session"])
def pooled(request: pytest.FixtureRequest, database: str) -> Iterator[str]:
    """The URL of an empty, migrated database through a PgBouncer with few connections of its own."""
    with running_pgbouncer(database, mode=request.param, size=6 if request.param == "transaction" else 60) as url:
        yield url


@pytest.fixture
def harness(pooled: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(pooled, redis_db, tmp_path / "files")
    yield harness
    harness.close()


def left_behind(url: str) -> set[tuple[Any, ...]]:
    """Return what strangers find in the sessions that they get."""
    with ThreadPoolExecutor(6) as strangers:
        return set(strangers.map(lambda _: one(url, LEFT_BEHIND), range(30)))


def one(url: str, query: str) -> tuple[Any, ...]:
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row
    return row


def test_every_webhook_becomes_one_change(harness: Harness, pooled: str) -> None:
    harness.user(harness.tenant("cmp_acme"), NORA["handle"])
    for _ in range(EVENTS // 100):
        harness.send("inbound_received", "cmp_acme", recipients=[NORA], count=100)
    assert harness.record() == EVENTS
    with ThreadPoolExecutor(8) as threads:
        harness.resources.dispatcher.send_round()
        while todo := harness.messages.sent:
            harness.messages.sent = []
            list(threads.map(lambda message: harness.run(message[1][0]), todo))
            harness.resources.dispatcher.send_round()
    assert harness.sql("SELECT state, count(*) FROM events GROUP BY state") == [("done", EVENTS)]
    assert len(harness.writes()) == EVENTS
    harness.close()
    harness.close = lambda: None  # type: ignore[method-assign]
    assert left_behind(pooled) == {(0, 0, "0", "0")}


def test_two_releases_migrate_at_once(postgres: Postgres, database: str) -> None:
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS unmigrated")
        conn.execute("CREATE DATABASE unmigrated")
    with running_pgbouncer(database, size=2) as url, ThreadPoolExecutor(2) as releases:
        empty = url.rpartition("/")[0] + "/unmigrated"
        applied = [each.name for done in releases.map(migrate, [empty, empty]) for each in done]
        assert sorted(applied) == [each.name for each in known()]
        assert migrate(empty) == []
        assert left_behind(empty) == {(0, 0, "0", "0")}


def test_a_role_is_held_once_and_lost_with_its_session(pooled: str, database: str) -> None:
    with (
        closing(Role(pooled, SWEEPER, process="first")) as first,
        closing(Role(pooled, SWEEPER, process="second")) as second,
    ):
        for holder, other in ((first, second), (second, first)):
            with holder.held() as is_holder, other.held() as is_other:
                assert (is_holder, is_other) == (True, False)
                holder.check()
        with first.held():
            holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            assert one(database, holders) == (True,)
            with pytest.raises(StoreUnavailable):
                first.check()
            with second.held() as is_second:
                assert is_second


def test_a_role_outlives_the_timeouts_of_idle_transactions(pooled: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'".encode())
        with closing(Role(pooled, SWEEPER, process="first")) as role, role.held() as is_ours:
            conn.execute("SELECT pg_sleep(0.6)")
            role.check()
            assert is_ours


def test_the_door_spools_through_it(pooled: str, database: str, tmp_path: Path) -> None:
    with running_door(pooled, "redis://127.0.0.1:1/0", tmp_path / "door.log") as door:
        answers = door.post_many(60, at_once=8)
    assert statuses(answers) == {200: 60}
    assert set(in_spool(database)) == delivery_ids(answers)
    assert left_behind(pooled) == {(0, 0, "0", "0")}


def test_worker_and_recorder_run_on_it(harness: Harness) -> None:
    harness.user(harness.tenant("cmp_acme"), NORA["handle"])
    with running_worker(harness), running_worker(harness, queue="record", slots=1):
        harness.send("inbound_received", "cmp_acme", recipients=[NORA], count=50)
        send(celery_app(harness.settings), RECORD_INTAKE)
        assert wait_until(lambda: harness.one("SELECT count(*) FROM events WHERE state = 'done'") == 50, 60.0)
    assert len(harness.writes()) == 50


def test_commands_work_through_it(harness: Harness, pooled: str, tmp_path: Path) -> None:
    harness.tenant("cmp_acme")
    users = tmp_path / "users.csv"
    users.write_text("external_id,name,email\n" + "".join(f"u{n},N {n},u{n}@acme.example\n" for n in range(2_000)))
    environment = {"DATABASE_URL": pooled, "REDIS_URL": harness.settings.redis_url.get_secret_value()}
    environment["MAILROOM_DATA"] = str(tmp_path)

    def run(*words: str) -> str:
        done = CliRunner(env=environment).invoke(main, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("migrate")
    run("user", "import", str(users), "--tenant", "Acme")
    assert json.loads(run("user", "list", "--tenant", "Acme", "--json"))
    assert json.loads(run("status", "--json"))["intake"]["depth"] == 0
    assert left_behind(pooled) == {(0, 0, "0", "0")}


@pytest.mark.parametrize(("command", "code"), [("migrate", 78), ("doctor", 1), ("status", 78)])
def test_statement_mode_is_refused_in_a_sentence(database: str, tmp_path: Path, command: str, code: int) -> None:
    with running_pgbouncer(database, mode="statement") as url:
        environment = {"DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0", "MAILROOM_DATA": str(tmp_path)}
        done = CliRunner(env=environment).invoke(main, [command], catch_exceptions=False)
    assert done.exit_code == code
    assert "set its pool_mode to transaction or session" in done.output


def test_a_direct_connection_keeps_its_statements_and_timeouts(database: str) -> None:
    with session(database) as conn:
        assert conn.prepare_threshold == 5
