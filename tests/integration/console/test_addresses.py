"""`mailroom address`: what is held of somebody is exported and erased, by command and through the API."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.db.tenants import address_erasures
from tests.integration.console.api.client import ApiClient, token_for
from tests.integration.console.api.conftest import api, application, tenant  # noqa: F401 -- fixtures
from tests.integration.console.rows import insert_event
from tests.integration.schema.builders import insert

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from tests.integration.console.conftest import Mailroom

JANE = "jane.doe@acme.example"
BODY = {"payload": {"target": {"data": {"recipients": [{"handle": JANE, "role": "to"}], "text": "Dear Jane"}}}}


@pytest.fixture
def environment(environment: dict[str, str | None], tmp_path: Path) -> dict[str, str | None]:
    return {**environment, "SECRET_KEY": "a-secret-of-this-test", "STORAGE_URL": f"file://{tmp_path}/files"}


@pytest.fixture
def held(acme: str, mailroom: Mailroom, conn: psycopg.Connection[Any], tmp_path: Path) -> int:
    """A user, and two events: one to Jane with a file, and one of somebody else."""
    mailroom("user", "add", "--tenant", acme, "--id", "17", "--name", "Jane", "--email", JANE)
    recipients = json.dumps([[JANE, "to", None, f"no user with {JANE}"]])
    event = insert_event(conn, front_id="evt_jane", recipients=recipients)
    insert_event(conn, front_id="evt_other")
    body = zlib.compress(json.dumps(BODY).encode())
    conn.execute("UPDATE deliveries SET body = %s WHERE event_id = %s", (body, event))
    (tenant_id,) = conn.execute("SELECT tenant_id FROM events WHERE id = %s", (event,)).fetchone() or (0,)
    for number, path in enumerate(("1/aa/fil_0", None)):
        insert(
            conn, "attachments", tenant_id=tenant_id, event_id=event, conversation_id="cnv_1", filename="../offer.pdf",
            front_id=f"fil_{number}", content_type="application/pdf", state="stored", path=path, size=5,
        )  # fmt: skip
    stored = tmp_path / "files" / "1" / "aa" / "fil_0"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"bytes")
    return event


def assert_complete(document: dict[str, Any], event: int) -> None:
    assert [user["external_id"] for user in document["users"]] == ["17"]
    assert document["users"][0]["addresses"] == [JANE]
    assert {"user_addresses", "tenant_journal"} <= set(document["rows"])
    [found] = document["events"]
    assert (found["number"], found["is_party"], found["event"]["id"]) == (event, True, "evt_jane")
    assert found["body"] == BODY
    assert "secret" not in json.dumps(document)


def test_an_export_has_everything_and_its_files(held: int, mailroom: Mailroom, tmp_path: Path) -> None:
    result = mailroom("address", "export", JANE.upper(), "--output", tmp_path / "jane")
    assert_complete(json.loads((tmp_path / "jane" / "export.json").read_bytes()), held)
    [file] = (tmp_path / "jane" / "files").iterdir()
    assert (file.name.endswith("offer.pdf"), file.read_bytes()) == (True, b"bytes")
    assert "1 files are not stored" in result.stderr
    assert (tmp_path / "jane").stat().st_mode & 0o077 == 0
    assert_complete(json.loads(mailroom("address", "export", JANE).stdout), held)


def test_the_audit_has_a_mask_in_place_of_the_address(
    held: int, mailroom: Mailroom, conn: psycopg.Connection[Any]
) -> None:
    mailroom("address", "export", JANE)
    mailroom("address", "erase", JANE, "--confirm", JANE, "--no-wait")
    entries = conn.execute("SELECT verb, target, detail FROM audit WHERE verb = 'addresses' ORDER BY id").fetchall()
    assert [detail for _, _, detail in entries] == ["export", "erasure"]
    [target] = {target for _, target, _ in entries}
    assert target.startswith("address erased-")
    assert (JANE in target, target.endswith("@erased.invalid")) == (False, True)


def test_an_erasure_waits_for_workers_and_is_asked_for_once(
    held: int, mailroom: Mailroom, conn: psycopg.Connection[Any]
) -> None:
    first = mailroom.json("address", "erase", JANE, "--confirm", JANE, "--no-wait")["erasure"]
    again = mailroom.json("address", "erase", JANE.upper(), "--confirm", JANE.upper(), "--no-wait")["erasure"]
    assert (first["state"], again["id"]) == ("waiting", first["id"])
    assert JANE not in mailroom("address", "list").stdout + mailroom("address", "show", first["id"]).stdout
    sealed = conn.execute("SELECT sealed FROM address_erasures").fetchone()
    assert sealed
    assert JANE.encode() not in sealed[0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("erase", JANE, "--confirm", "john@acme.example"), 2),
        (("erase", JANE), 2),
        (("erase", "jane", "--confirm", "jane"), 1),
        (("export", "jane"), 1),
        (("show", "99"), 3),
    ],
)
def test_a_mistake_changes_nothing(
    mailroom: Mailroom, conn: psycopg.Connection[Any], arguments: tuple[str, ...], code: int
) -> None:
    mailroom("address", *arguments, code=code)
    assert conn.execute("SELECT * FROM address_erasures").fetchall() == []


def test_the_address_of_somebody_who_logs_in_is_refused(mailroom: Mailroom, conn: psycopg.Connection[Any]) -> None:
    mailroom("admin", "add", JANE)
    result = mailroom("address", "erase", JANE, "--confirm", JANE, code=1)
    assert result.stderr.startswith("address_of_account")


def test_the_api_exports_and_erases(held: int, api: ApiClient, conn: psycopg.Connection[Any]) -> None:  # noqa: F811
    assert_complete(api("POST", "/addresses/export", {"address": JANE}), held)
    asked = api("POST", "/addresses/erasures", {"address": JANE}, code=202)
    number = asked["erasure"]["id"]
    assert api("GET", f"/addresses/erasures/{number}") == asked
    assert [each["id"] for each in api("GET", "/addresses/erasures")["erasures"]] == [number]
    for place in ("event 1", "event 2"):
        insert(conn, "address_erasure_items", erasure_id=number, place=place, outcome="cut", settled_at="now")
    first = api("GET", f"/addresses/erasures/{number}/items?limit=1")
    second = api("GET", f"/addresses/erasures/{number}/items?limit=1&after={first['next']}")
    assert [first["items"][0]["place"], second["items"][0]["place"], second["next"]] == ["event 1", "event 2", None]
    assert api("POST", "/addresses/export", {"address": "jane"}, code=422)["code"] == "not_an_address"
    api("GET", "/addresses/erasures/99", code=404)


def test_a_token_of_one_tenant_asks_about_that_one(
    held: int,
    api: ApiClient,  # noqa: F811
    mailroom: Mailroom,
    tenant: int,  # noqa: F811
    conn: psycopg.Connection[Any],
) -> None:
    mailroom("tenant", "add", "Other", "--company", "cmp_other")
    bound = replace(api, token=token_for(mailroom, "of Acme", "--scope", "write", "--tenant", "Acme"))
    assert bound("POST", "/addresses/erasures", {"address": JANE}, code=202)["erasure"]["tenant_id"] == tenant
    (other,) = conn.execute("SELECT id FROM tenants WHERE name = 'Other'").fetchone() or (0,)
    bound("POST", "/addresses/erasures", {"address": JANE, "tenant_id": other}, code=404)
    every = address_erasures.request(conn, tenant_id=None, mask="m", who="-", seal=lambda _: b"-")
    bound("GET", f"/addresses/erasures/{every}", code=404)
    reader = replace(api, token=token_for(mailroom, "reader", "--scope", "read"))
    reader("GET", f"/addresses/erasures/{every}", code=403)
