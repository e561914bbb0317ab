"""`mailroom tenant erase` removes all data of a tenant and nothing else, and drops its later webhooks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.db.recording import spool
from shared.models import Delivery
from tests.integration.isolation.command import mailroom
from tests.integration.isolation.data_search import locations_of
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_recording import envelope

NORA = "nora.lindqvist@acme.example"
ACME, OTHER = "cmp_acme", "cmp_other"
ERASE_ACME = ("tenant", "erase", "Acme", "--confirm", "Acme")


def body(company: str, event: str, **changes: Any) -> bytes:
    message = {"recipients": [{"handle": NORA, "role": "to"}], "attachments": [{"id": "fil_1", "filename": "a.pdf"}]}
    return json.dumps(
        envelope(authorization={"id": company}, payload={"id": event}, message=message, **changes)
    ).encode()


def spooled(harness: Harness, number: int, content: bytes) -> None:
    delivery = Delivery(id=f"{number:032x}", received_at=datetime.now(UTC), body=content)
    harness.resources.pool.run(lambda conn: spool.add(conn, [delivery]))


def mail(harness: Harness, company: str) -> None:
    harness.send("inbound_received", company, recipients=[{"handle": NORA, "role": "to"}], attachment_count=1)


def map_inbox_and_default_owner(harness: Harness, tenant: int, user: int) -> None:
    """Map a shared inbox to the user, and make the user the default owner."""
    harness.sql("INSERT INTO inbox_addresses VALUES (%s, %s, %s, 'inb_1', 'Desk', %s)", tenant, NORA, NORA, user)
    harness.sql("UPDATE tenants SET default_owner = %s WHERE id = %s", user, tenant)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def busy(harness: Harness) -> Harness:
    """Two tenants with finished work, and waiting work in every place that can hold it."""
    harness.receive(body(ACME, "evt_early", type="something_new"))  # recorded before the tenant exists
    harness.record()
    for company, name in ((ACME, "Acme"), (OTHER, "Other")):
        tenant = harness.tenant(company, name)
        map_inbox_and_default_owner(harness, tenant, harness.user(tenant, NORA))
        mail(harness, company)
    harness.record()
    harness.work()
    harness.receive(body(ACME, "evt_unread").replace(b"1786440070.93", b"NaN"))
    mail(harness, ACME)
    harness.record()
    for number, company in enumerate((ACME, OTHER)):
        harness.receive(body(company, "evt_waiting"))
        spooled(harness, number, body(company, "evt_spooled"))
    return harness


def test_nothing_is_left_but_the_tombstone(busy: Harness, folder: Path) -> None:
    assert len(locations_of(busy, folder, ACME)) > 5  # tables, intake, budget
    mailroom(busy, *ERASE_ACME)
    assert locations_of(busy, folder, ACME) == {"erased_companies"}
    tenant = busy.one("SELECT id FROM tenants WHERE company_id = %s", OTHER)
    assert busy.sql("SELECT tenant_id, address FROM user_addresses") == [(tenant, NORA)]
    assert [place.name for place in folder.iterdir()] == [str(tenant)]


def test_another_tenant_is_not_touched(busy: Harness, folder: Path) -> None:
    mine = "SELECT e.front_id, e.state, count(d.id)::int FROM events e JOIN deliveries d ON d.event_id = e.id"
    before = busy.sql(f"{mine} WHERE company_id = %s GROUP BY 1, 2 ORDER BY 1", OTHER)
    assert before
    mailroom(busy, *ERASE_ACME)
    assert busy.sql(f"{mine} WHERE company_id = %s GROUP BY 1, 2 ORDER BY 1", OTHER) == before
    mail(busy, OTHER)
    assert busy.record() == 3  # its waiting deliveries are recorded, too
    busy.work()
    assert busy.one("SELECT count(*)::int FROM attachments WHERE state = 'stored'") == 2


def test_it_says_what_it_removed(busy: Harness) -> None:
    result = mailroom(busy, *ERASE_ACME, "--json")
    document = json.loads(result.stdout)
    assert (document["erased"], document["company_id"]) == ("Acme", ACME)
    removed = document["removed"]
    assert (removed["events"], removed["users"], removed["files"]) == (3, 1, 1)
    assert (removed["intake deliveries"], removed["spooled deliveries"], removed["unread events"]) == (1, 1, 1)
    assert "until its admin removes the app" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("Acme", "--confirm", "acme"),
        ("Acme",),  # no terminal to ask
        (),
        ("Acme", "--company", OTHER),
        ("--company", ACME, "--confirm", ACME),  # a tenant has it
    ],
)
def test_nothing_happens_without_the_right_name(busy: Harness, folder: Path, words: tuple[str, ...]) -> None:
    before = locations_of(busy, folder, ACME)
    mailroom(busy, "tenant", "erase", *words, code=2)
    assert locations_of(busy, folder, ACME) == before
    assert busy.one("SELECT parked_cause FROM tenants WHERE company_id = %s", ACME) is None


def test_later_webhooks_are_dropped_and_counted(busy: Harness, folder: Path) -> None:
    mailroom(busy, *ERASE_ACME)
    busy.receive(body(ACME, "evt_late"))
    busy.receive(body(ACME, "evt_later").replace(b"1786440070.93", b"NaN"))
    busy.receive(body(OTHER, "evt_late"))
    spooled(busy, 7, body(ACME, "evt_spooled_late"))
    busy.record()
    assert locations_of(busy, folder, ACME) == {"erased_companies"}
    assert busy.one("SELECT dropped::int FROM erased_companies") == 3
    assert busy.one("SELECT count(*)::int FROM events WHERE front_id = 'evt_late'") == 1
    assert busy.resources.intake.depth() == 0
    assert f"{ACME}: 3 deliveries dropped" in mailroom(busy, "status").output
    assert json.loads(mailroom(busy, "status", "--json").stdout)["erased"][0]["dropped"] == 3
    assert f"{ACME} still sends, 3 deliveries dropped" in mailroom(busy, "doctor", code=1).output  # for other causes


def test_a_company_that_comes_back_is_recorded_again(busy: Harness) -> None:
    mailroom(busy, *ERASE_ACME)
    mailroom(busy, "tenant", "add", "Acme", "--company", ACME)
    assert busy.sql("SELECT 1 FROM erased_companies") == []
    busy.receive(body(ACME, "evt_back"))
    busy.record()
    assert busy.one("SELECT count(*)::int FROM events WHERE company_id = %s", ACME) == 1


def test_a_company_that_is_bound_to_a_tenant_later_is_recorded_again(busy: Harness) -> None:
    mailroom(busy, *ERASE_ACME)
    busy.sql("INSERT INTO tenants (name) VALUES ('Acme')")
    assert len(busy.sql("SELECT 1 FROM erased_companies")) == 1
    busy.sql("UPDATE tenants SET company_id = %s WHERE name = 'Acme'", ACME)
    assert busy.sql("SELECT 1 FROM erased_companies") == []


def test_a_company_that_no_tenant_has_is_erased_by_its_id(harness: Harness, folder: Path) -> None:
    harness.receive(body("cmp_nobody", "evt_1"))
    harness.record()
    spooled(harness, 1, body("cmp_nobody", "evt_2"))
    assert locations_of(harness, folder, "cmp_nobody") == {"events", "deliveries", "spooled_deliveries"}
    mailroom(harness, "tenant", "erase", "--company", "cmp_nobody", "--confirm", "cmp_nobody")
    harness.receive(body("cmp_nobody", "evt_3"))
    harness.record()
    assert locations_of(harness, folder, "cmp_nobody") == {"erased_companies"}


def test_a_tenant_without_a_company_is_erased(harness: Harness) -> None:
    harness.sql("INSERT INTO tenants (name) VALUES ('Nobody yet')")
    mailroom(harness, "tenant", "erase", "Nobody yet", "--confirm", "Nobody yet")
    assert harness.sql("SELECT 1 FROM tenants UNION ALL SELECT 1 FROM erased_companies") == []


def test_a_body_that_only_mentions_the_company_stays(busy: Harness) -> None:
    busy.receive(body(OTHER, "evt_about", subject=f"our friends at {ACME}"))
    spooled(busy, 9, body(OTHER, "evt_about_too", subject=f'"authorization": {{"id": "{ACME}"}}'))
    mailroom(busy, *ERASE_ACME)
    busy.record()
    assert busy.one("SELECT count(*)::int FROM events WHERE front_id LIKE 'evt_about%%'") == 2
