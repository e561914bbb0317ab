"""The API adds, lists, configures and pauses tenants, with the same checks as the command."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from console.issued_secrets import digest_of
from tests.integration.console.api.client import ApiClient, token_for, wait_until_blocked

if TYPE_CHECKING:
    import psycopg
    from flask_openapi3 import OpenAPI

    from tests.integration.console.conftest import Mailroom


def test_an_added_tenant_waits_for_its_connection(api: ApiClient, mailroom: Mailroom) -> None:
    made = api("POST", "/tenants", {"name": "Acme", "customer": "4711"}, code=201)
    assert (made["name"], made["customer"], made["company_id"]) == ("Acme", "4711", None)
    assert (made["connection"], made["parked_cause"]) == (None, "needs_reconnect")
    assert api("GET", f"/tenants/{made['id']}") == made
    assert mailroom.json("tenant", "show", "Acme")["id"] == made["id"]
    assert api("POST", "/tenants", {"name": "Acme"}, code=409)["code"] == "tenant_taken"


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": " "},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"name": "A", "company_id": "4k2p9"},
        {"name": "A", "company_id": "cmp_a\n"},
        {"name": "A", "customer": "\x00"},
        {"name": "A", "id": 1},
    ],
)
def test_an_invalid_tenant_is_refused(api: ApiClient, body: dict[str, Any]) -> None:
    assert api("POST", "/tenants", body, code=422)["errors"]
    assert api("GET", "/tenants") == {"tenants": [], "next": None}


def test_pages_and_customers(api: ApiClient) -> None:
    for number in range(5):
        api("POST", "/tenants", {"name": f"T{number}", "customer": "even" if number % 2 == 0 else "odd"}, code=201)
    first = api("GET", "/tenants?limit=3")
    second = api("GET", f"/tenants?limit=3&after={first['next']}")
    assert [each["name"] for each in first["tenants"] + second["tenants"]] == ["T0", "T1", "T2", "T3", "T4"]
    assert second["next"] is None
    assert [each["name"] for each in api("GET", "/tenants?customer=odd")["tenants"]] == ["T1", "T3"]


def test_a_policy_is_changed_part_by_part(api: ApiClient, tenant: int) -> None:
    api("PATCH", f"/tenants/{tenant}", {"action": "tag:tag_3vq81c", "act_within_seconds": 3600, "fold_plus": True})
    inboxes = {"only_inboxes": ["inb_1", "inb_2"], "dry_run": True, "only_when_matched": False}
    changed = api("PATCH", f"/tenants/{tenant}", inboxes)
    assert (
        changed.items()
        >= {
            **inboxes,
            "action": "tag:tag_3vq81c",
            "act_within_seconds": 3600,
            "fold_plus": True,
            "wait_for": "stored",
        }.items()
    )
    assert api("PATCH", f"/tenants/{tenant}", {"only_inboxes": []})["only_inboxes"] is None
    assert api("PATCH", f"/tenants/{tenant}", {})["act_within_seconds"] == 3600


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"action": "mark_read"}, "invalid_policy"),
        ({"action": "delete"}, "invalid_policy"),
        ({"action": "trash", "wait_for": "settled"}, "invalid_policy"),
        ({"only_inboxes": ["cnv_1"]}, "invalid_policy"),
        ({"wait_for": "never"}, "invalid"),
        ({"act_within_seconds": 0}, "invalid"),
        ({"act_within_seconds": "3600"}, "invalid"),
        ({"paused": True}, "invalid"),
    ],
)
def test_an_invalid_policy_is_refused(api: ApiClient, tenant: int, body: dict[str, Any], code: str) -> None:
    before = api("GET", f"/tenants/{tenant}")
    assert api("PATCH", f"/tenants/{tenant}", body, code=422)["code"] == code
    assert api("GET", f"/tenants/{tenant}") == before


def test_a_trash_that_waits_cannot_be_made_hasty_afterwards(api: ApiClient, tenant: int) -> None:
    api("PATCH", f"/tenants/{tenant}", {"action": "trash"})
    assert api("PATCH", f"/tenants/{tenant}", {"wait_for": "settled"}, code=422)["code"] == "invalid_policy"


def test_two_who_change_a_policy_at_once_do_not_make_a_hasty_trash(
    api: ApiClient, tenant: int, conn: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(1) as another:
        with conn.transaction():
            conn.execute("UPDATE tenants SET action = 'trash' WHERE id = %s", (tenant,))
            changed = another.submit(api.answer, "PATCH", f"/tenants/{tenant}", {"wait_for": "settled"})
            wait_until_blocked(conn)
        assert changed.result().status_code == 422


def test_pause_and_resume(api: ApiClient, tenant: int) -> None:
    for _ in range(2):
        assert api("POST", f"/tenants/{tenant}/pause")["parked_cause"] == "paused"
    for _ in range(2):
        assert api("POST", f"/tenants/{tenant}/resume")["parked_cause"] is None


def test_a_connect_link_is_shown_once_and_ends_the_one_before(
    api: ApiClient, tenant: int, conn: psycopg.Connection
) -> None:
    links = [api("POST", f"/tenants/{tenant}/connect-links?days=1", code=201) for _ in range(2)]
    tokens = [link["url"].removeprefix("http://localhost:8081/connect/") for link in links]
    kept = conn.execute("SELECT digest, ended IS NULL FROM connect_links WHERE tenant_id = %s", (tenant,)).fetchall()
    assert dict(kept) == {digest_of(tokens[0]): False, digest_of(tokens[1]): True}


def test_without_an_oauth_client_a_link_says_what_is_missing(
    api: ApiClient, application: OpenAPI, tenant: int, conn: psycopg.Connection
) -> None:
    present = application.extensions["mailroom"]
    settings = present.settings.model_copy(update={"front_client_id": ""})
    application.extensions["mailroom"] = dataclasses.replace(present, settings=settings)
    refused = api("POST", f"/tenants/{tenant}/connect-links", code=503)
    assert (refused["code"], "FRONT_CLIENT_ID" in refused["detail"]) == ("configuration", True)
    assert conn.execute("SELECT count(*) FROM connect_links").fetchone() == (0,)


def test_no_answer_shows_a_token_of_fronts(api: ApiClient, tenant: int) -> None:
    for path in ("/tenants", f"/tenants/{tenant}"):
        assert "acme-api-token" not in api.answer("GET", path).get_data(as_text=True)


def test_the_journal_of_a_tenant_is_read_page_by_page(
    application: OpenAPI, api: ApiClient, mailroom: Mailroom, tenant: int
) -> None:
    for days in range(1, 4):
        api("PATCH", f"/tenants/{tenant}", {"act_within_seconds": days * 86400})
    first = api("GET", f"/tenants/{tenant}/journal?limit=2")
    second = api("GET", f"/tenants/{tenant}/journal?after={first['next']}")
    assert first["entries"] + second["entries"] == mailroom.json("tenant", "journal", "Acme")
    assert first["entries"][0]["who"] == "API token everything"
    assert api("GET", "/tenants/999/journal", code=404)["code"] == "unknown_tenant"
    bound = ApiClient(client=application.test_client(), token=token_for(mailroom, "bound", "--tenant", "Acme"))
    assert bound("GET", f"/tenants/{tenant}/journal", code=403)["code"] == "token_of_one_tenant"


def test_a_quota_is_set_by_operators_alone(api: ApiClient, mailroom: Mailroom, tenant: int) -> None:
    changed = api("PATCH", f"/tenants/{tenant}", {"max_stored_bytes": 5_000, "max_events_a_day": 7})
    assert (changed["max_stored_bytes"], changed["max_events_a_day"], changed["stored_bytes"]) == (5_000, 7, 0)
    bound = dataclasses.replace(api, token=token_for(mailroom, "of Acme", "--scope", "write", "--tenant", "Acme"))
    refused = bound("PATCH", f"/tenants/{tenant}", {"max_stored_bytes": 0}, code=403)
    assert refused["code"] == "quota_of_operator"
    assert bound("PATCH", f"/tenants/{tenant}", {"action": "archive"})["max_stored_bytes"] == 5_000
    assert api("PATCH", f"/tenants/{tenant}", {"max_stored_bytes": 0})["max_stored_bytes"] is None
    entries = api("GET", f"/tenants/{tenant}/journal")["entries"]
    changes = [set(each["after"]) for each in entries if each["kind"] == "tenant"]
    assert changes[:3] == [{"max_stored_bytes"}, {"action"}, {"max_stored_bytes", "max_events_a_day"}]
