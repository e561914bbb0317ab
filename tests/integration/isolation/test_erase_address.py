"""After the erasure of an address it is in no table, file or Redis key; everything else goes on as it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from shared.db.tenants import address_erasures, tenants
from shared.subject_address import SubjectAddress
from tests.integration.isolation.data_search import locations_of
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_recording import envelope
from workers.erasing_addresses import erase_address

JANE, GIVEN = "jane.doe@acme.example", "Jane.Doe@ACME.example"
MARY = "mary.jane.doe@acme.example"  # ends with the other address
NORA = "nora@acme.example"
ACME, OTHER, UNKNOWN = "cmp_acme", "cmp_other", "cmp_unknown"
SPELLINGS = (JANE, GIVEN, JANE.upper(), JANE.replace("@", "%40"), GIVEN.replace("@", "%40"))
TO_JANE = [{"handle": "sender@elsewhere.example", "role": "from"}, {"handle": GIVEN, "role": "to"}]


def places(harness: Harness, folder: Path) -> set[str]:
    """Return all places with the address, in any spelling."""
    return locations_of(harness, folder, *SPELLINGS)


def request(harness: Harness, address: str = GIVEN, tenant_id: int | None = None) -> int:
    """Ask for the erasure as the console does."""
    mask = SubjectAddress.parse(address).mask(b"key")
    vault = harness.resources.vault

    def ask(conn: Any) -> int:
        return address_erasures.request(
            conn,
            tenant_id=tenant_id,
            mask=mask,
            who="ops",
            seal=lambda owner: vault.seal(owner, {"address": address}),
        )

    return harness.resources.pool.run(ask)


def erase(harness: Harness, number: int, *, slices: int = 5) -> dict[str, int]:
    """Carry the erasure out, and count what it did by outcome."""
    for _ in range(slices):
        harness.sql("UPDATE address_erasures SET claimed_until = '-infinity'")
        erase_address(harness.resources, number)
    assert harness.one("SELECT state FROM address_erasures WHERE id = %s", number) == "done"
    return harness.resources.pool.run(lambda conn: address_erasures.outcomes(conn, number))


def body(event: str, company: str = ACME, **message: Any) -> bytes:
    return json.dumps(envelope(authorization={"id": company}, payload={"id": event}, message=message)).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def acme(harness: Harness) -> int:
    """A tenant with Jane and Nora, and mail to each."""
    tenant_id = harness.tenant(ACME)
    harness.user(tenant_id, JANE)
    harness.user(tenant_id, NORA)
    file = {"filename": f"offer for {JANE}.pdf", "size": 2_000}
    harness.send("inbound_received", ACME, recipients=TO_JANE, attachments=[file])
    harness.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}], attachment_count=1)
    harness.record()
    harness.work()
    return tenant_id


def add_everywhere(harness: Harness, tenant_id: int) -> None:
    """Put the address where nobody would look for it: in words of people, of Front, and of ours."""
    harness.sql("UPDATE tasks SET detail = 'Front says: no ' || %s WHERE kind = 'apply_action'", GIVEN)
    harness.sql("UPDATE attempts SET detail = %s, calls = jsonb_build_array(%s::text)", f"to\n{JANE}", JANE)
    harness.sql("INSERT INTO journal (event_id, what, who, detail) SELECT id, 'x', %s, %s FROM events", JANE, JANE)
    harness.sql(
        "INSERT INTO tenant_journal (tenant_id, who, what, kind, name, after)"
        " VALUES (%s, 'ops', 'added', 'inbox_address', %s, jsonb_build_object('address', %s::text))",
        tenant_id,
        GIVEN,
        JANE,
    )
    harness.sql(
        "INSERT INTO audit (who, via, verb, target, allowed, detail) VALUES (%s, 'page', 'log_in', %s, true, %s)",
        JANE,
        JANE,
        f"email:{GIVEN}",
    )
    harness.sql("INSERT INTO jobs (verb, words, requested_by) VALUES ('retry', %s, 'ops')", f"email:{JANE}")
    harness.sql("UPDATE tenants SET only_inboxes = ARRAY['inb_1', %s]", JANE)
    harness.sql("INSERT INTO inbox_addresses VALUES (%s, %s, %s, 'inb_1', 'Desk', NULL)", tenant_id, JANE, GIVEN)
    harness.sql("DELETE FROM inbox_addresses")
    harness.sql("INSERT INTO accounts (email, name, role, disabled_at) VALUES (%s, 'Jane', 'viewer', now())", GIVEN)
    harness.sql(
        "INSERT INTO login_failures (account, address) VALUES (%s, '10.0.0.1')", hashlib.sha256(JANE.encode()).digest()
    )
    harness.sql("UPDATE notifications SET facts = jsonb_build_object('reason', %s::text)", JANE)


def test_the_address_is_nowhere_afterwards(harness: Harness, acme: int, folder: Path) -> None:
    harness.sweep("number_notifications")
    add_everywhere(harness, acme)
    harness.receive(body("evt_mention", text=f"Write to {GIVEN} or https://x.example/?to={JANE.replace('@', '%40')}"))
    harness.receive(body("evt_unread", text=JANE).replace(b"1786440070.93", b"NaN"))
    harness.receive(body("evt_unknown", UNKNOWN, recipients=[{"handle": JANE, "role": "to"}]))
    number = request(harness)  # before these are recorded
    before = {place.split(" ")[0] for place in places(harness, folder)}
    assert before >= {"events", "deliveries", "tasks", "attempts", "journal", "audit", "accounts", "redis", "jobs"}
    harness.sql("UPDATE address_erasures SET claimed_until = '-infinity'")
    erase_address(harness.resources, number)
    assert harness.sql("SELECT state, until_event FROM address_erasures") == [("waiting", None)]
    harness.record()
    writes = harness.writes()
    counts = erase(harness, number)
    assert places(harness, folder) == set()
    assert counts["cut"] == 2  # the mail to Jane, and that of the unknown company
    assert harness.sql("SELECT DISTINCT sealed FROM address_erasures") == [(None,)]
    assert harness.sql("SELECT * FROM login_failures") == []
    assert harness.sql("SELECT state, cause FROM events WHERE company_id = %s", UNKNOWN) == [
        ("ignored", "address_erased")
    ]
    assert harness.sql("SELECT external_id FROM users") == [(NORA,)]
    # Nora's file and body are kept, and the rows of all.
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1
    assert harness.one("SELECT count(*)::int FROM events") == 5
    assert harness.sql("SELECT state FROM actions ORDER BY event_id LIMIT 2") == [("confirmed",), ("confirmed",)]
    harness.make_due()
    harness.work()
    assert harness.writes() == writes


def test_the_mask_tells_whether_two_rows_are_of_one_person(harness: Harness, acme: int) -> None:
    mask = SubjectAddress.parse(JANE).mask(b"key")
    harness.sql("INSERT INTO audit (who, via, verb, target, allowed) VALUES (%s, 'page', 'log_in', '-', true)", GIVEN)
    erase(harness, request(harness))
    assert harness.one("SELECT who FROM audit") == mask
    handles = [handle for (handle,) in harness.sql("SELECT handle FROM recipients WHERE role = 'to' ORDER BY event_id")]
    assert handles == [mask, NORA]


def test_other_addresses_that_end_alike_stay(harness: Harness, acme: int) -> None:
    harness.user(acme, MARY)
    harness.receive(body("evt_mary", recipients=[{"handle": MARY, "role": "to"}], text=f"{MARY} and {JANE}"))
    harness.record()
    erase(harness, request(harness))
    assert harness.one("SELECT address FROM user_addresses WHERE address LIKE 'mary%%'") == MARY
    assert harness.one("SELECT handle FROM recipients WHERE handle LIKE 'mary%%'") == MARY
    assert harness.one("SELECT count(*)::int FROM deliveries WHERE body IS NOT NULL") == 2


def test_a_user_with_another_address_stays(harness: Harness) -> None:
    tenant_id = harness.tenant(ACME)
    user = harness.user(tenant_id, NORA, JANE)
    erase(harness, request(harness))
    assert harness.sql("SELECT user_id, address FROM user_addresses") == [(user, NORA)]


def test_new_mail_is_kept_as_before(harness: Harness, acme: int, folder: Path) -> None:
    erase(harness, request(harness))
    harness.user(acme, JANE)
    [sent] = harness.send("inbound_received", ACME, recipients=TO_JANE, attachment_count=1)
    harness.record()
    harness.work()
    assert harness.status(sent["conversation_id"]) == "archived"
    assert harness.one("SELECT handle FROM recipients WHERE user_id IS NOT NULL AND role = 'to' ORDER BY 1 LIMIT 1")
    assert {"events", "deliveries"} <= locations_of(harness, folder, GIVEN)


def test_open_work_goes_on_without_the_content(harness: Harness, acme: int, folder: Path) -> None:
    """The files are not fetched any more; the action waits for none of them and is carried out once."""
    harness.resources.pool.run(lambda conn: tenants.pause(conn, acme))
    [sent] = harness.send("inbound_received", ACME, recipients=TO_JANE, attachment_count=1)
    harness.record()
    counts = erase(harness, request(harness))
    assert counts["cut"] == 2
    harness.resources.pool.run(lambda conn: tenants.resume(conn, acme))
    harness.work()
    assert places(harness, folder) == set()
    assert harness.sql("SELECT state FROM tasks WHERE kind = 'store_attachment' ORDER BY id")[-1] == ("discarded",)
    assert harness.one("SELECT count(*)::int FROM events WHERE state <> 'done'") == 0
    assert len(harness.writes(sent["conversation_id"])) <= 1


def test_a_task_that_runs_is_waited_for(harness: Harness, acme: int, folder: Path) -> None:
    harness.send("inbound_received", ACME, recipients=TO_JANE, attachment_count=1)
    harness.record()
    task_id = harness.one("SELECT id FROM tasks WHERE state IN ('ready', 'queued') AND kind = 'store_attachment'")
    assert harness.claim(task_id)
    number = request(harness)
    for _ in range(2):
        harness.sql("UPDATE address_erasures SET claimed_until = '-infinity'")
        erase_address(harness.resources, number)
    assert harness.one("SELECT state FROM address_erasures") == "running"
    assert harness.resources.pool.run(lambda conn: address_erasures.outcomes(conn, number))["open"] == 1
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL WHERE id = %s", task_id)
    erase(harness, number)
    assert places(harness, folder) == set()


def test_an_erasure_of_one_tenant_leaves_the_others(harness: Harness, acme: int) -> None:
    other = harness.tenant(OTHER, "Other")
    harness.user(other, JANE)
    harness.send("inbound_received", OTHER, recipients=TO_JANE)
    harness.record()
    harness.work()
    erase(harness, request(harness, tenant_id=acme))
    assert harness.sql("SELECT tenant_id FROM user_addresses WHERE address = %s", JANE) == [(other,)]
    assert harness.sql("SELECT tenant_id FROM recipients WHERE handle = %s", GIVEN) == [(other,)]
    assert harness.one("SELECT count(*)::int FROM deliveries WHERE body IS NULL") == 1
