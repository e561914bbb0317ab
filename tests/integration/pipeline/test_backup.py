"""A backup made under load is restored: no event is lost, and nothing is done to a conversation a second time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from sandbox.models import Source
from sandbox.world import Cause, set_tags
from shared.connection.budget import Budget
from shared.connection.vault import TokenVault
from shared.db.tasks import manual_changes
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.repairing import ACME, CLEAN, acme, ago, finish_repairs, mail, verdict
from tests.integration.schema.comparison import catalogue, differences

if TYPE_CHECKING:
    from console.up.embedded import Postgres

ROOT = Path(__file__).parents[3]
Ended = subprocess.CompletedProcess[str]
FILE = [{"filename": "bill.pdf", "content_type": "application/pdf", "size": 3_000}]


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a database without tables."""
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE restored")
        yield postgres.url_of("restored")
        conn.execute("DROP DATABASE restored WITH (FORCE)")


def run(harness: Harness, *arguments: str, **environment: str) -> Ended:
    """Run a command of its own process, while threads of this one log and work."""
    settings = harness.settings
    usual = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "STORAGE_URL": settings.storage,
        "TOKEN_KEYS": settings.token_keys[0].get_secret_value(),
    }
    command = [sys.executable, "-m", "console", *arguments]
    return subprocess.run(command, env=usual | environment, cwd=ROOT, capture_output=True, text=True, check=False)


def document(ended: Ended) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def refusal(ended: Ended) -> str:
    assert ended.returncode != 0, ended.stdout
    return ended.stderr.strip().splitlines()[-1]


@contextmanager
def load(harness: Harness) -> Iterator[None]:
    """Receive, record and work inside the block, in another thread."""
    stop, errors = threading.Event(), list[BaseException]()

    def loop() -> None:
        try:
            while not stop.is_set():
                mail(harness, attachments=FILE)
                harness.record()
                harness.work()
                stop.wait(0.5)  # or Front's budget for the tenant is used up
        except BaseException as error:  # noqa: BLE001 -- shown below
            errors.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert errors == []


def settle(harness: Harness) -> None:
    """Record and work until nothing is open, as fast as if Front's limit were not used up."""
    for _ in range(20):
        Budget.from_url(harness.settings.redis_url.get_secret_value()).forget(ACME)
        harness.make_due()
        harness.sql("UPDATE tenants SET backlog_not_before = '-infinity'")
        harness.record()
        harness.work()
        if not harness.one("SELECT count(*)::int FROM tasks WHERE state IN ('ready', 'queued', 'running')"):
            return
        time.sleep(0.5)  # Front takes one write a second of a conversation
    raise AssertionError(harness.sql("SELECT kind, state, due_at::text, code, detail FROM tasks"))


def changes(harness: Harness, conversation: str | None = None) -> int:
    """Return how many writes Front took."""
    return sum(call["status"] < 300 for call in harness.writes(conversation))


def drain(harness: Harness) -> None:
    settle(harness)
    finish_repairs(harness)
    settle(harness)


def undo_everything(harness: Harness, tenant: int, conversation: str) -> None:
    since = datetime.now(UTC) - timedelta(hours=2)
    harness.control(f"conversations/{conversation}/recall", {})
    harness.resources.pool.run(
        lambda conn: manual_changes.request_undo(conn, tenant, [conversation], since=since, who="a person")
    )
    settle(harness)


def test_a_backup_under_load_is_restored_and_nothing_is_lost_or_done_twice(
    harness: Harness, empty_database: str, tmp_path: Path
) -> None:
    tenant = acme(harness)
    mail(harness, count=2, attachments=FILE)
    harness.record()
    harness.work()
    waiting = mail(harness, count=3, attachments=FILE)
    harness.record()
    with load(harness):
        made = document(run(harness, "backup", str(tmp_path / "backup"), "--json"))
    made_at = datetime.fromisoformat(made["made_at"])
    assert harness.sql("SELECT made_at FROM backups") == [(made_at,)]
    settle(harness)
    lost = mail(harness, count=2, attachments=FILE)
    settle(harness)
    for event in (waiting[0], lost[0]):
        undo_everything(harness, tenant, event["conversation_id"])
        assert harness.status(event["conversation_id"]) == "open"
    writes, events = changes(harness), harness.one("SELECT count(*)::int FROM events")
    kept = mail(harness, count=2, attachments=FILE)
    epoch = harness.one("SELECT epoch FROM feed_state")
    with harness.stopped(database_url=empty_database):
        shutil.rmtree(tmp_path / "files")
        restored = document(run(harness, "restore", str(tmp_path / "backup"), "--json", DATABASE_URL=empty_database))
    assert made["files"]["number"] == restored["files"] >= 2
    assert harness.sql("SELECT made_at FROM backups") == [(made_at,)]
    assert (made["feed_epoch"], restored["repaired_tenants"]) == (epoch, 1)
    assert harness.sql("SELECT previous_epoch, epoch FROM feed_state") == [(epoch, restored["feed_epoch"])]
    assert harness.one("SELECT count(*)::int FROM events") < events
    drain(harness)
    assert harness.one("SELECT count(*)::int FROM events") == events + len(kept)
    assert verdict(harness) == CLEAN
    assert changes(harness) == writes + len(kept)
    assert harness.sql("SELECT DISTINCT state FROM actions") == [("confirmed",)]
    assert {harness.status(event["conversation_id"]) for event in (waiting[0], lost[0])} == {"open"}
    paths = [path for (path,) in harness.sql("SELECT path FROM attachments WHERE state = 'stored'")]
    assert len(paths) == harness.one("SELECT count(*)::int FROM attachments")
    assert [path for path in paths if not (tmp_path / "files" / path).is_file()] == []


def test_a_change_that_nobody_made_before_the_restore_is_made_once_after_it(
    harness: Harness, empty_database: str, tmp_path: Path
) -> None:
    acme(harness)
    [event] = mail(harness)
    harness.record()
    document(run(harness, "backup", str(tmp_path / "backup"), "--json"))
    with harness.stopped(database_url=empty_database):
        document(run(harness, "restore", str(tmp_path / "backup"), "--json", DATABASE_URL=empty_database))
    drain(harness)
    assert changes(harness, event["conversation_id"]) == 1
    assert verdict(harness) == CLEAN


def test_only_an_event_from_before_the_latest_restore_is_looked_up_first(harness: Harness) -> None:
    acme(harness)
    harness.sql(
        "INSERT INTO restores (at, backup_at) VALUES (now() - interval '5 minutes', now()),"
        " (now() - interval '8 hours', now())"
    )
    emitted = {minutes: mail(harness, emitted_at=ago(minutes))[0]["conversation_id"] for minutes in (10, 1)}
    harness.record()
    states = "SELECT a.state, a.intent_at = a.emitted_at FROM actions a JOIN events e ON e.id = a.event_id"
    assert harness.sql(f"{states} WHERE e.conversation_id = %s", emitted[10]) == [("intent", True)]
    assert harness.sql(f"{states} WHERE e.conversation_id = %s", emitted[1]) == [("planned", None)]
    settle(harness)
    assert (changes(harness), verdict(harness)) == (3, CLEAN)


def test_a_tag_that_a_person_removed_is_not_set_again(harness: Harness, empty_database: str, tmp_path: Path) -> None:
    acme(harness)
    world = harness.sandbox.front.world
    tag = world.companies[ACME].tags[0]
    harness.sql("UPDATE tenants SET action = %s", f"tag:{tag.id}")
    [event] = mail(harness, expect=f"tag:{tag.id}")
    document(run(harness, "backup", str(tmp_path / "backup"), "--json"))
    harness.record()
    harness.work()
    assert harness.control(f"conversations/{event['conversation_id']}")["tags"] == [tag.id]
    person = Cause(source=Source(type="teammate"), at=harness.sandbox.front.now())
    set_tags(world, (ACME, event["conversation_id"]), (), person)
    with harness.stopped(database_url=empty_database):
        document(run(harness, "restore", str(tmp_path / "backup"), "--json", DATABASE_URL=empty_database))
    drain(harness)
    assert harness.control(f"conversations/{event['conversation_id']}")["tags"] == []
    assert changes(harness, event["conversation_id"]) == 1
    assert harness.one("SELECT state FROM actions ORDER BY event_id DESC LIMIT 1") == "confirmed"


def test_a_file_that_the_storage_lacks_is_fetched_from_front_again(
    harness: Harness, empty_database: str, tmp_path: Path
) -> None:
    acme(harness)
    mail(harness, count=2, attachments=FILE)
    harness.record()
    harness.work()
    first, second = (path for (path,) in harness.sql("SELECT path FROM attachments ORDER BY id"))
    (tmp_path / "files" / first).unlink()
    (tmp_path / "files" / second).write_bytes(b"damaged")
    made = document(run(harness, "backup", str(tmp_path / "backup"), "--json"))
    assert (made["files"]["number"], made["files"]["missing"]) == (0, 2)
    writes = changes(harness)
    with harness.stopped(database_url=empty_database):
        restored = document(run(harness, "restore", str(tmp_path / "backup"), "--json", DATABASE_URL=empty_database))
    assert restored["fetched_again"] == 2
    assert harness.sql("SELECT DISTINCT state FROM attachments") == [("waiting",)]
    drain(harness)
    assert harness.sql("SELECT DISTINCT state FROM attachments") == [("stored",)]
    assert {(tmp_path / "files" / path).stat().st_size for path in (first, second)} == {3_000}
    assert changes(harness) == writes


def test_a_restored_database_has_the_same_catalogue(harness: Harness, empty_database: str, tmp_path: Path) -> None:
    document(run(harness, "backup", str(tmp_path / "backup"), "--json"))
    document(run(harness, "restore", str(tmp_path / "backup"), "--json", DATABASE_URL=empty_database))
    with (
        psycopg.connect(harness.settings.database_url.get_secret_value()) as old,
        psycopg.connect(empty_database) as new,
    ):
        assert differences(catalogue(old), catalogue(new)) == []
        migrations = "SELECT * FROM schema_migrations ORDER BY name"
        assert old.execute(migrations).fetchall() == new.execute(migrations).fetchall()
        who = "SELECT verb, via, allowed FROM audit ORDER BY id"
        assert old.execute(who).fetchall() == new.execute(who).fetchall() == [("back_up", "cli", True)]


@pytest.fixture
def made(harness: Harness, tmp_path: Path) -> Path:
    """A backup of a tenant with a token and a file."""
    acme(harness)
    mail(harness, attachments=FILE)
    harness.record()
    harness.work()
    document(run(harness, "backup", str(tmp_path / "backup"), "--json"))
    return tmp_path / "backup"


def test_a_database_in_use_is_not_restored(harness: Harness, made: Path) -> None:
    said = refusal(run(harness, "restore", str(made), "--replace", "--yes"))
    assert said.startswith("database_in_use: these are connected to the database: ")
    assert "stop recorders, workers, sweepers and consoles" in said


def test_a_database_that_is_not_empty_is_replaced_only_when_told(harness: Harness, made: Path) -> None:
    mail(harness)
    harness.record()
    with harness.stopped():
        assert refusal(run(harness, "restore", str(made))) == (
            "database_not_empty: the database has tables; name an empty one, or add --replace to drop them"
        )
        assert "nobody can be asked here" in refusal(run(harness, "restore", str(made), "--replace"))
        document(run(harness, "restore", str(made), "--replace", "--yes", "--json"))
    assert harness.one("SELECT count(*)::int FROM events") == 2
    drain(harness)
    assert harness.one("SELECT count(*)::int FROM events") == 3
    assert verdict(harness) == CLEAN


def test_other_peoples_tables_are_never_dropped(harness: Harness, made: Path, empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE TABLE theirs (id integer)")
    said = refusal(run(harness, "restore", str(made), "--replace", "--yes", DATABASE_URL=empty_database))
    assert said == "database_not_empty: the database has tables that are not Mailroom's; name another one"


def test_tokens_whose_key_is_missing_are_not_restored(harness: Harness, made: Path, empty_database: str) -> None:
    other = Fernet.generate_key().decode()
    (ours,) = TokenVault(harness.settings.token_keys).key_ids
    (theirs,) = TokenVault([SecretStr(other)]).key_ids
    said = refusal(run(harness, "restore", str(made), DATABASE_URL=empty_database, TOKEN_KEYS=other))
    assert said.startswith(f"other_keys: TOKEN_KEYS lack keys of the backup: {ours} (1 tokens); they have {theirs}.")
    assert other not in said
    both = f"{other},{harness.settings.token_keys[0].get_secret_value()}"
    document(run(harness, "restore", str(made), "--json", DATABASE_URL=empty_database, TOKEN_KEYS=both))


def change_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def test_a_newer_schema_is_refused(harness: Harness, made: Path, empty_database: str) -> None:
    migrations = json.loads((made / "manifest.json").read_text())["migrations"]
    newer = {**migrations[-1], "name": "9998_shade"}
    change_manifest(made, migrations=[*migrations, newer], version="7.0.0")
    said = refusal(run(harness, "restore", str(made), DATABASE_URL=empty_database))
    assert said == (
        "schema_too_new: the backup is of release 7.0.0, whose schema has 9998_shade; "
        "restore it with that release or a newer one"
    )


def damage_dump(folder: Path) -> None:
    content = bytearray((folder / "database.dump").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "database.dump").write_bytes(content)


def damage_file(folder: Path) -> None:
    [file] = [path for path in (folder / "files").rglob("*") if path.is_file()]
    file.write_bytes(b"x" * file.stat().st_size)


def remove_file(folder: Path) -> None:
    shutil.rmtree(folder / "files")


def lead_out(folder: Path) -> None:
    path = folder / "files.jsonl"
    path.write_text(path.read_text().replace('"path": "', '"path": "../'))
    change_manifest(folder, files=files_of(folder) | {"list_sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def files_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text())["files"])


def interrupt(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_dump, "database.dump has other bytes than when the backup was made; use another backup"),
        (damage_file, "has other bytes than when the backup was made; use another backup"),
        (remove_file, "is missing; use another backup"),
        (lead_out, "files.jsonl names a file that is none of Mailroom's"),
        (interrupt, "has no manifest.json: it is no backup, or one that was interrupted"),
    ],
)
def test_a_damaged_backup_is_refused_before_anything_changes(
    damage: Callable[[Path], None], said: str, harness: Harness, made: Path, empty_database: str
) -> None:
    damage(made)
    error = refusal(run(harness, "restore", str(made), DATABASE_URL=empty_database))
    assert error.startswith("backup_damaged: ")
    assert error.endswith(said)
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_a_backup_has_a_folder_of_its_own_that_only_its_owner_reads(harness: Harness, made: Path) -> None:
    assert refusal(run(harness, "backup", str(made))).startswith("folder_not_empty: ")
    key = harness.settings.token_keys[0].get_secret_value()
    for path in (made, *made.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.is_dir() or key.encode() not in path.read_bytes()


def test_a_backup_that_fails_leaves_nothing_behind(harness: Harness, made: Path, tmp_path: Path) -> None:
    del made
    folder = tmp_path / "second"
    said = refusal(run(harness, "backup", str(folder), TOKEN_KEYS=""))
    assert "TOKEN_KEYS is not set" in said
    assert list(folder.iterdir()) == []
