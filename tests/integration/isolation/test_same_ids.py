"""Front's ids are unique within a company only: two companies with the same ids do not affect each other."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.harness.processes import wait_until
from shared.db.tasks import manual_changes
from tests.integration.isolation.command import mailroom
from tests.integration.pipeline.harness import Harness

NORA = "nora@acme.example"
ACME, OTHER = "cmp_acme", "cmp_other"
IDS = {"conversation": "cnv_1", "message": "msg_1", "event": "evt_1"}


@pytest.fixture
def twins(harness: Harness) -> dict[str, int]:
    """Two tenants, each with a user Nora and a mail to her with one file. All ids are equal."""
    tenants = {company: harness.tenant(company, name) for company, name in ((ACME, "Acme"), (OTHER, "Other"))}
    for company, tenant in tenants.items():
        harness.user(tenant, NORA)
        mail(harness, company, attachments=[{"id": "fil_1", "size": 1_000}])
    harness.record()
    return tenants


def mail(harness: Harness, company: str, **order: Any) -> None:
    harness.send("inbound_received", company, recipients=[{"handle": NORA, "role": "to"}], **{**IDS, **order})


def act(harness: Harness, company: str, do: str, **how: Any) -> None:
    harness.control("conversations/cnv_1/act", {"do": do, "company": company, **how})


def calls(harness: Harness) -> list[dict[str, Any]]:
    return list(harness.control("ledger/calls")["calls"])


def states(harness: Harness) -> list[tuple[str, str]]:
    return harness.sql("SELECT company_id, a.state FROM actions a JOIN events e ON e.id = a.event_id ORDER BY 1")


def test_each_tenant_has_its_own_file_and_its_own_action(
    harness: Harness, twins: dict[str, int], tmp_path: Path
) -> None:
    harness.work()
    files = dict(harness.sql("SELECT tenant_id, path FROM attachments WHERE state = 'stored'"))
    bytes_of = {tenant: (tmp_path / "files" / path).read_bytes() for tenant, path in files.items()}
    for company, tenant in twins.items():
        shown = harness.control(f"files/fil_1?company={company}")
        assert hashlib.sha256(bytes_of[tenant]).hexdigest() == shown["sha256"]
        assert harness.control(f"conversations/cnv_1?company={company}")["status"] == "archived"
    assert bytes_of[twins[ACME]] != bytes_of[twins[OTHER]]
    assert [call for call in calls(harness) if call["wrong_token"]] == []
    assert sorted(call["company"] for call in calls(harness) if call["method"] == "PATCH") == [ACME, OTHER]


@pytest.mark.usefixtures("twins")
def test_recipients_are_matched_with_the_users_of_their_own_tenant(harness: Harness) -> None:
    assert harness.one(
        "SELECT bool_and(u.tenant_id = r.tenant_id) FROM recipients r JOIN users u ON u.id = r.user_id"
        " WHERE r.role = 'to'"
    )


def test_a_persons_change_supersedes_in_its_own_company_only(harness: Harness, twins: dict[str, int]) -> None:
    harness.sql("UPDATE tasks SET due_at = now() + interval '1 hour' WHERE kind = 'store_attachment'")
    act(harness, ACME, "archive", by="teammate", webhook=True)
    assert wait_until(lambda: harness.resources.intake.depth() == 1, 30.0)
    harness.record()
    harness.sql("UPDATE tasks SET due_at = now() WHERE kind = 'store_attachment'")
    harness.work()
    assert states(harness) == [(ACME, "superseded"), (OTHER, "confirmed")]


def test_a_file_that_is_missing_holds_up_its_own_company_only(harness: Harness, twins: dict[str, int]) -> None:
    harness.sql(
        "UPDATE tasks SET due_at = now() + interval '1 hour' WHERE kind = 'store_attachment' AND tenant_id = %s",
        twins[ACME],
    )
    harness.work()
    assert states(harness) == [(ACME, "planned"), (OTHER, "confirmed")]


def test_a_merge_concerns_its_own_company_only(harness: Harness, twins: dict[str, int]) -> None:
    mail(harness, ACME, conversation="cnv_2", message="msg_2", event="evt_2")
    harness.control("conversations/cnv_1/act", {"do": "merge", "into": "cnv_2", "company": ACME})
    harness.record()
    harness.work()
    assert harness.sql("SELECT tenant_id, conversation_id FROM merged_conversations") == [(twins[ACME], "cnv_1")]
    assert harness.control(f"conversations/cnv_1?company={OTHER}")["status"] == "archived"
    assert harness.control(f"conversations/cnv_2?company={ACME}")["status"] == "archived"


def test_an_undo_concerns_its_own_company_only(harness: Harness, twins: dict[str, int]) -> None:
    harness.work()
    since = datetime.now(UTC) - timedelta(hours=1)
    ask = partial(
        manual_changes.request_undo, tenant_id=twins[ACME], conversation_ids=["cnv_1"], since=since, who="olga"
    )
    assert harness.resources.pool.run(ask) == 1
    harness.work()
    assert states(harness) == [(ACME, "undone"), (OTHER, "confirmed")]
    assert harness.control(f"conversations/cnv_1?company={ACME}")["status"] == "open"
    assert harness.control(f"conversations/cnv_1?company={OTHER}")["status"] == "archived"


def test_a_paused_tenant_waits_alone(harness: Harness, twins: dict[str, int]) -> None:
    harness.sql("UPDATE tenants SET parked_cause = 'paused' WHERE id = %s", twins[ACME])
    harness.work()
    assert states(harness) == [(ACME, "planned"), (OTHER, "confirmed")]


@pytest.mark.usefixtures("twins")
def test_an_event_id_of_two_tenants_is_shown_for_the_named_one(harness: Harness) -> None:
    refused = mailroom(harness, "event", "show", "evt_1", code=2).output
    assert f"Acme, {ACME}" in refused
    assert f"Other, {OTHER}" in refused
    shown = json.loads(mailroom(harness, "event", "show", "evt_1", "--tenant", "Other", "--json").stdout)
    assert shown["company_id"] == OTHER


@pytest.mark.usefixtures("twins")
def test_lists_name_the_tenant_of_each_line(harness: Harness) -> None:
    for words in (("event", "list"), ("task", "list")):
        output = mailroom(harness, *words).output
        assert "Acme" in output
        assert "Other" in output
