"""Every change through the API is written into the audit, and so is every one that is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from console.access.actor import SCOPES
from console.api.blueprint import READ_METHODS, VERBS_OF_ROUTES
from shared.db.tenants import tenants
from tests.integration.console.api.client import ApiClient, token_for
from tests.integration.console.rows import insert_event, insert_task

if TYPE_CHECKING:
    import psycopg
    from flask_openapi3 import OpenAPI

    from tests.integration.console.conftest import Mailroom


def audit(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Return who asked for what, the first entry first."""
    return conn.execute(
        "SELECT who, verb, target, tenant_id, allowed FROM audit WHERE via = 'api' ORDER BY id"
    ).fetchall()


def test_every_route_that_changes_something_needs_a_right(application: OpenAPI) -> None:
    changing = {
        rule.endpoint
        for rule in application.url_map.iter_rules()
        if rule.rule.startswith("/api/v1") and (rule.methods or set()) - READ_METHODS
    }
    assert changing == set(VERBS_OF_ROUTES)
    assert set(VERBS_OF_ROUTES.values()) <= SCOPES["write"] - {"read"}


def test_changes_of_tenants_and_users_are_written_down(
    api: ApiClient, tenant: int, users: str, conn: psycopg.Connection
) -> None:
    api("PUT", f"{users}/17", {"name": "N", "addresses": ["n@acme.example"]}, code=201)
    api("POST", f"{users}/bulk", {"users": [{"external_id": "1", "name": "M", "addresses": ["m@acme.example"]}]})
    api("PATCH", f"/tenants/{tenant}", {"action": "archive"})
    api("POST", f"/tenants/{tenant}/pause")
    api("POST", f"/tenants/{tenant}/pause")  # changes nothing
    api("POST", f"/tenants/{tenant}/resume")
    link = api("POST", f"/tenants/{tenant}/connect-links", code=201)["url"]
    added = api("POST", "/tenants", {"name": "New"}, code=201)["id"]
    who = "API token everything"
    assert audit(conn) == [
        (who, "users", f"users of tenant {tenant}", tenant, True),
        (who, "users", f"users of tenant {tenant}", tenant, True),
        (who, "policy", f"tenant {tenant}", tenant, True),
        (who, "pause", f"tenant {tenant}", tenant, True),
        (who, "pause", f"tenant {tenant}", tenant, True),
        (who, "connect", f"tenant {tenant}", tenant, True),
        (who, "connect", f"tenant {added}", added, True),
    ]
    rows = str(conn.execute("SELECT a::text FROM audit a").fetchall())
    assert "acme.example" not in rows
    assert link.rsplit("/", 1)[1] not in rows
    assert conn.execute("SELECT before, after FROM audit WHERE verb = 'policy'").fetchone() == (
        {"action": "none"},
        {"action": "archive"},
    )


def test_a_refusal_of_a_number_that_no_tenant_can_have_is_written_down(
    application: OpenAPI, mailroom: Mailroom, acme: str, conn: psycopg.Connection
) -> None:
    bound = ApiClient(
        client=application.test_client(), token=token_for(mailroom, "bound", "--scope", "write", "--tenant", acme)
    )
    reader = ApiClient(client=application.test_client(), token=token_for(mailroom, "reader"))
    target = f"/tenants/{10**30}/pause"
    bound("POST", target, code=404)
    reader("POST", target, code=403)
    assert [entry[2:] for entry in audit(conn)] == [(f"POST /api/v1{target}", None, False)] * 2


def test_refusals_are_written_down_too(
    application: OpenAPI, mailroom: Mailroom, tenant: int, conn: psycopg.Connection
) -> None:
    reader = ApiClient(client=application.test_client(), token=token_for(mailroom, "reader"))
    bound = ApiClient(
        client=application.test_client(), token=token_for(mailroom, "bound", "--scope", "write", "--tenant", "Acme")
    )
    theirs = tenants.add(conn, "Other", "cmp_other")
    task = insert_task(conn, insert_event(conn, company="cmp_other", state="failed"))
    conn.execute("INSERT INTO jobs (verb, words, requested_by) VALUES ('retry', '', 'nora')")
    reader("POST", f"/tenants/{tenant}/pause", code=403)
    reader("DELETE", f"/tenants/{tenant}/users/jane@acme.example", code=403)
    bound("POST", f"/tenants/{tenant + 1}/pause", code=404)
    bound("POST", "/tenants", {"name": "New"}, code=403)
    bound("GET", f"/tenants/{tenant + 1}", code=404)  # a look changes nothing
    bound("POST", f"/tasks/{task}/retry", {}, code=404)
    bound("POST", "/jobs/1/cancel", code=404)
    bound("POST", "/repairs", {"tenant_ids": [theirs], "since": "1h"}, code=404)
    assert audit(conn) == [
        ("API token reader", "pause", f"POST /api/v1/tenants/{tenant}/pause", tenant, False),
        ("API token reader", "users", f"DELETE /api/v1/tenants/{tenant}/users/<anything:external_id>", tenant, False),
        ("API token bound", "pause", f"POST /api/v1/tenants/{tenant + 1}/pause", tenant + 1, False),
        ("API token bound", "connect", "POST /api/v1/tenants", None, False),
        ("API token bound", "retry", f"task {task}", theirs, False),
        ("API token bound", "retry", "job 1", None, False),
        ("API token bound", "repair", "POST /api/v1/repairs", theirs, False),
    ]
