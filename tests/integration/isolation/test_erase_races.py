"""An erasure runs at the same time as recorders, workers, downloads and commands of the tenant."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.harness.processes import wait_until
from console.erasing import Stores, erase_everything, wait_for_running_tasks
from shared.connection.vault import TokenVault
from shared.db.core.pool import Connection
from shared.db.recording import statements
from shared.db.tasks import leases
from shared.db.tenants import connections, erasing, tenants
from shared.db.tenants.erasing import NotErasing, Subject
from shared.errors import BeingErased, Fenced
from shared.storage import Storage, StoredFile
from tests.integration.isolation.command import mailroom
from tests.integration.isolation.data_search import locations_of
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_recording import NORA, receive
from workers.recording import prepare

ACME = "cmp_acme"
ERASE_ACME = ("tenant", "erase", "Acme", "--confirm", "Acme")
WAITS = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def acme(harness: Harness) -> int:
    tenant = harness.tenant(ACME)
    harness.user(tenant, NORA)
    return tenant


def mark_tenant(harness: Harness, tenant: int) -> Subject:
    return harness.resources.pool.run(lambda conn: erasing.mark_tenant(conn, tenant))


def stores(harness: Harness) -> Stores:
    return Stores(
        pool=harness.resources.pool,
        intake=harness.resources.intake,
        budget=harness.resources.front._budget,
        storage=harness.resources.storage,
    )


def file_task(harness: Harness, size: int = 3_000_000) -> int:
    """Record a mail with a file; return the id of the task that stores it."""
    files = [{"id": "fil_1", "size": size}]
    harness.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}], attachments=files)
    harness.record()
    return int(harness.one("SELECT id FROM tasks WHERE kind = 'store_attachment'"))


class Gate:
    """A gate that blocks another thread until the test opens it."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(WAITS)


@pytest.mark.usefixtures("acme")
def test_a_recorder_that_read_the_tenant_before_is_waited_for(
    harness: Harness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = Gate(), statements.tenants_of

    def slow(conn: Connection, company_ids: Any) -> Any:
        found = real(conn, company_ids)
        gate()
        return found

    monkeypatch.setattr(statements, "tenants_of", slow)
    receive(harness)
    with ThreadPoolExecutor() as pool:
        recorded = pool.submit(harness.record)
        assert gate.reached.wait(WAITS)
        erased = pool.submit(mailroom, harness, *ERASE_ACME)
        assert wait_for_lock(harness)
        gate.open.set()
        assert recorded.result() == 1
        erased.result()
    assert locations_of(harness, folder, ACME) == {"erased_companies"}
    assert harness.one("SELECT dropped::int FROM erased_companies") == 0


def wait_for_lock(harness: Harness) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return wait_until(lambda: harness.one(waiting) == 1, WAITS)


def test_a_recorder_that_comes_after_the_mark_writes_nothing(harness: Harness, acme: int) -> None:
    mark_tenant(harness, acme)
    receive(harness)
    assert harness.record() == 1
    assert harness.sql("SELECT 1 FROM events UNION ALL SELECT 1 FROM deliveries") == []
    assert harness.one("SELECT dropped::int FROM erased_companies") == 1


def test_a_user_who_goes_while_a_chunk_names_them_does_not_spoil_a_body(
    harness: Harness, acme: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The violated foreign key shows that the user is gone; the retry does not name the user again."""
    real = prepare.find_owners
    with ThreadPoolExecutor() as pool:

        def find_owners_then_delete_user(conn: Connection, messages: Any) -> Any:
            found = real(conn, messages)
            pool.submit(harness.sql, "DELETE FROM users WHERE tenant_id = %s", acme).result()
            return found

        monkeypatch.setattr(prepare, "find_owners", find_owners_then_delete_user)
        receive(harness)
        harness.record()
    assert harness.sql("SELECT type FROM events") == [("inbound_received",)]
    assert harness.sql("SELECT handle, user_id FROM recipients") == [(NORA, None)]


def test_nothing_is_dispatched_or_claimed_after_the_mark(harness: Harness, acme: int) -> None:
    task_id = file_task(harness)
    harness.sql("UPDATE tasks SET state = 'ready'")
    mark_tenant(harness, acme)
    harness.messages.sent.clear()
    harness.resources.dispatcher.send_round()
    harness.resources.dispatcher.top_up([acme])
    harness.sweep("dispatch", "probe", "take_back", "adopt", "release_stranded")
    assert harness.messages.sent == []
    assert harness.claim(task_id) is None


def test_a_message_of_a_deleted_task_does_no_harm(harness: Harness, acme: int) -> None:
    task_id = file_task(harness)
    erase_everything(stores(harness), mark_tenant(harness, acme), lambda _: None)
    harness.run(task_id)
    assert harness.sql("SELECT 1 FROM tasks") == []


def test_a_download_in_the_middle_is_waited_for_and_its_file_is_gone(
    harness: Harness, acme: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, gate, real = file_task(harness), Gate(), Storage.put

    def slow(storage: Storage, path: str, chunks: Any) -> StoredFile:
        gate()
        return real(storage, path, chunks)

    monkeypatch.setattr(Storage, "put", slow)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(harness.run, task_id)
        assert gate.reached.wait(WAITS)
        told: list[int] = []
        subject = mark_tenant(harness, acme)
        waited = pool.submit(
            wait_for_running_tasks, stores(harness), subject, lambda n: (told.append(n), gate.open.set())
        )
        waited.result()
        run.result()
    assert told == [1]
    erase_everything(stores(harness), subject, lambda _: None)
    assert list(folder.iterdir()) == []
    assert locations_of(harness, folder, ACME) == {"erased_companies"}


def test_a_frozen_download_removes_its_file_when_it_wakes_after_all(
    harness: Harness, acme: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease ended during the freeze, so the erasure did not wait for the download."""
    task_id, gate, real = file_task(harness, size=1_000), Gate(), Storage.put

    def frozen(storage: Storage, path: str, chunks: Any) -> StoredFile:
        stored = real(storage, path, chunks)
        gate()
        storage_again = real(storage, path, [b"again"])  # the rest of the file
        assert storage_again.size
        return stored

    monkeypatch.setattr(Storage, "put", frozen)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(harness.run, task_id)
        assert gate.reached.wait(WAITS)
        harness.sql("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state = 'running'")
        subject = mark_tenant(harness, acme)
        wait_for_running_tasks(stores(harness), subject, lambda _: pytest.fail("its lease has ended"))
        erase_everything(stores(harness), subject, lambda _: None)
        gate.open.set()
        run.result()
    assert [place for place in folder.rglob("*") if place.is_file()] == []


def test_an_attempt_that_only_lost_its_lease_leaves_the_file_to_the_next_one(
    harness: Harness, acme: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, real = file_task(harness, size=1_000), Storage.put

    def overtaken(storage: Storage, path: str, chunks: Any) -> StoredFile:
        stored = real(storage, path, chunks)
        harness.sql("UPDATE tasks SET lease_epoch = lease_epoch + 1")
        return stored

    monkeypatch.setattr(Storage, "put", overtaken)
    harness.run(task_id)
    assert [place.name for place in folder.rglob("*") if place.is_file()] == ["fil_1"]
    assert harness.one("SELECT state FROM tasks WHERE id = %s AND tenant_id = %s", task_id, acme) == "running"


def test_a_running_attempt_gets_no_more_time_and_lets_go(harness: Harness, acme: int) -> None:
    task = harness.claim(file_task(harness))
    assert task
    mark_tenant(harness, acme)
    with pytest.raises(Fenced):
        harness.resources.pool.run(lambda conn: leases.renew(conn, task, lease_seconds=120))
    assert harness.resources.pool.run(lambda conn: erasing.count_running_tasks(conn, acme)) == 1
    harness.resources.pool.run(lambda conn: leases.release(conn, task))
    assert harness.resources.pool.run(lambda conn: erasing.count_running_tasks(conn, acme)) == 0


@pytest.mark.usefixtures("acme")
def test_interrupted_anywhere_it_goes_on_when_it_is_run_again(
    harness: Harness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        receive(harness, payload={"id": f"evt_{number}"})
    harness.record()
    file_task(harness)
    harness.work()
    monkeypatch.setattr("console.erasing.EVENTS_AT_ONCE", 2)
    for broken in ("delete_events", "unread_bodies", "delete_rows", "delete_tenant"):
        with monkeypatch.context() as interrupted:
            interrupted.setattr(erasing, broken, killed_at_second_call(getattr(erasing, broken)))
            mailroom(harness, *ERASE_ACME, code=1)
        assert harness.one("SELECT parked_cause FROM tenants") == "erasing"
    mailroom(harness, *ERASE_ACME)
    assert locations_of(harness, folder, ACME) == {"erased_companies"}
    mailroom(harness, *ERASE_ACME, code=3)


def killed_at_second_call(real: Any) -> Any:
    calls = 0 if real in {erasing.delete_events, erasing.delete_rows} else 1

    def call(*words: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise SystemExit(1)
        return real(*words, **named)

    return call


def test_a_tenant_that_is_being_erased_is_not_connected_paused_or_resumed(harness: Harness, acme: int) -> None:
    mark_tenant(harness, acme)
    secret = TokenVault(harness.settings.token_keys).seal(acme, {"access_token": "t"})
    with pytest.raises(BeingErased):
        harness.resources.pool.run(partial(connections.connect, tenant_id=acme, kind="api_token", secret=secret))
    for change in (tenants.pause, tenants.resume):
        assert not harness.resources.pool.run(partial(change, tenant_id=acme))
    harness.resources.pool.run(
        partial(tenants.park, tenant_id=acme, cause="needs_reconnect", token_version=0, probe_seconds=0)
    )
    assert harness.sql("SELECT parked_cause FROM tenants") == [("erasing",)]
    assert harness.sql("SELECT 1 FROM connections") == []


def test_parked_events_are_not_given_to_a_tenant_that_is_being_erased(harness: Harness) -> None:
    receive(harness)
    harness.record()
    mark_tenant(harness, harness.tenant(ACME))
    harness.sweep("adopt")
    assert harness.sql("SELECT state, tenant_id FROM events") == [("parked", None)]


def test_a_company_that_gets_a_tenant_meanwhile_keeps_what_is_left(harness: Harness) -> None:
    for number in range(3):
        receive(harness, payload={"id": f"evt_{number}"})
    harness.record()
    subject = harness.resources.pool.run(lambda conn: erasing.mark_company(conn, ACME))
    harness.resources.pool.run(partial(erasing.delete_events, company_id=ACME, after="", limit=1))
    harness.tenant(ACME)
    with pytest.raises(NotErasing, match="given to a tenant"):
        erase_everything(stores(harness), subject, lambda _: None)
    with pytest.raises(NotErasing, match="belongs to the tenant 'Acme'"):
        harness.resources.pool.run(lambda conn: erasing.mark_company(conn, ACME))
    assert harness.one("SELECT count(*)::int FROM events") == 2


def test_a_tenant_that_is_being_added_is_seen_before_its_company_is_marked(harness: Harness) -> None:
    """Otherwise the tombstone would drop webhooks of an existing tenant."""
    adding = Gate()

    def add(conn: Connection) -> None:
        tenants.add(conn, "Acme", ACME)
        adding()

    with ThreadPoolExecutor() as pool:
        added = pool.submit(harness.resources.pool.run, add)
        assert adding.reached.wait(WAITS)
        marked = pool.submit(harness.resources.pool.run, lambda conn: erasing.mark_company(conn, ACME))
        assert wait_for_lock(harness)
        adding.open.set()
        added.result()
        with pytest.raises(NotErasing):
            marked.result()
    assert harness.sql("SELECT 1 FROM erased_companies") == []


def test_a_body_that_cannot_be_read_is_dropped_too(harness: Harness, acme: int) -> None:
    erase_everything(stores(harness), mark_tenant(harness, acme), lambda _: None)
    harness.receive(json.dumps({"authorization": {"type": "company", "id": ACME}}).encode())
    harness.record()
    assert harness.sql("SELECT 1 FROM events UNION ALL SELECT 1 FROM deliveries") == []
