"""No request does more than its token allows, on any route."""

from __future__ import annotations

import dataclasses
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from shared.db.tenants import tenants
from tests.integration.console.api.client import ApiClient, token_for
from tests.integration.console.rows import insert_event, insert_task

if TYPE_CHECKING:
    import psycopg
    from flask_openapi3 import OpenAPI
    from werkzeug.routing import Rule
    from werkzeug.test import TestResponse

    from tests.integration.console.conftest import Mailroom

READING = {"GET"}
BODIES: dict[str, Any] = {
    "api.replace_user": {"name": "N", "addresses": ["n@acme.example"]},
    "api.change_user": {"active": True},
    "api.put_users_of_list": {"users": [{"external_id": "1", "name": "N", "addresses": ["n@acme.example"]}]},
    "api.change_policy": {"action": "archive"},
    "api.add_tenant": {"name": "New"},
    "api.retry_task": {},
    "api.discard_task": {"reason": "a test"},
    "api.change_task": {"action": "archive"},
    "api.run_event_again": {"from": "record"},
    "api.decide_group": {"state": "fixed"},
    "api.plan_job": {"verb": "retry", "q": "tenant:Other"},
}
QUERIES = {"api.preview_job": {"verb": "retry", "q": "tenant:Other"}}
#: What only a token of every tenant gets.
FOR_ALL_TENANTS = {"api.add_tenant", "api.show_status", "api.list_audit", "api.list_rejected"}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a tenant, by number."""

    tenant: int
    events: int
    attachments: int
    tasks: int
    groups: int
    jobs: int
    repairs: int
    endpoints: int
    addresses: int
    message: str


def insert_rows(conn: psycopg.Connection, tenant: int, company: str) -> Rows:
    """Insert a row of every kind for the tenant."""
    event = insert_event(conn, front_id=f"evt_{company}", company=company, state="failed")
    task = insert_task(conn, event)
    return Rows(
        tenant=tenant,
        events=event,
        attachments=number_of(
            conn,
            "INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type)"
            " SELECT tenant_id, id, conversation_id, 'fil_1', 'a.pdf', '' FROM events WHERE tenant_id = %s"
            " RETURNING id",
            tenant,
        ),
        tasks=task,
        groups=number_of(conn, "SELECT failure_group_id FROM tasks WHERE tenant_id = %s", tenant),
        jobs=number_of(
            conn,
            "INSERT INTO jobs (verb, words, requested_by, tenant_id) VALUES ('retry', '', 'nora', %s) RETURNING id",
            tenant,
        ),
        repairs=number_of(
            conn, "INSERT INTO repairs (tenant_id, requested_by) VALUES (%s, 'nora') RETURNING id", tenant
        ),
        endpoints=number_of(
            conn,
            "INSERT INTO endpoints (tenant_id, name, url, secret)"
            " SELECT id, 'hook of ' || id, 'https://app.example.com/', '-' FROM tenants WHERE id = %s RETURNING id",
            tenant,
        ),
        addresses=number_of(
            conn,
            "INSERT INTO address_erasures (tenant_id, mask, sealed, requested_by) VALUES (%s, 'm', '-', 'nora')"
            " RETURNING id",
            tenant,
        ),
        message=insert_message(conn, tenant, event),
    )


def insert_message(conn: psycopg.Connection, tenant: int, event: int) -> str:
    """Insert a notification about the event into the feed, and return its id."""
    conn.execute("DELETE FROM outbox")
    row = conn.execute(
        """
        INSERT INTO notifications (position, tenant_id, conversation_id, type, event_id, at)
        SELECT last_position + 1, %s, 'cnv_1', 'message.received', %s, now() FROM feed_state RETURNING id
        """,
        (tenant, event),
    ).fetchone()
    conn.execute("UPDATE feed_state SET last_position = last_position + 1")
    assert row
    return f"msg_{row[0].hex}"


def number_of(conn: psycopg.Connection, query: str, tenant: int) -> int:
    row = conn.execute(query, (tenant,)).fetchone()
    assert row
    return int(row[0])


def routes(application: OpenAPI) -> list[tuple[Rule, str]]:
    """Return every route of the API with each of its methods."""
    rules = [rule for rule in application.url_map.iter_rules() if rule.rule.startswith("/api/v1")]
    return [(rule, method) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]


def path_of(rule: Rule, tenant: int, rows: Rows | None = None) -> str:
    path = rule.rule.removeprefix("/api/v1")
    path = path.replace("<int:tenant_id>", str(tenant)).replace("<anything:external_id>", "17")
    noun = path.split("/")[1].removeprefix("failure-")
    path = path.replace("<string:message_id>", rows.message if rows else f"msg_{'0' * 32}")
    return path.replace("<int:number>", str(getattr(rows, noun, 1))).replace("<string:step>", "start")


def answers(api: ApiClient, application: OpenAPI, tenant: int, rows: Rows | None = None) -> dict[str, TestResponse]:
    """Return the answer of each route, by endpoint."""
    bodies = {
        **BODIES,
        "api.request_repairs": {"tenant_ids": [tenant], "since": "1h"},
        "api.stop_repairs": {"tenant_id": tenant},
        "api.add_endpoint": {"name": "x", "url": "https://app.example.com/", "tenant_id": tenant},
        "api.export_address": {"address": "theirs@other.example", "tenant_id": tenant},
        "api.erase_address": {"address": "theirs@other.example", "tenant_id": tenant},
    }
    return {
        rule.endpoint: api.answer(
            method,
            path_of(rule, tenant, rows),
            bodies.get(rule.endpoint),
            query_string=QUERIES.get(rule.endpoint),
        )
        for rule, method in routes(application)
    }


def stored(conn: psycopg.Connection) -> list[Any]:
    """Return all rows that the API could change."""
    rows = "tenants users user_addresses connect_links tasks failure_groups jobs job_items repairs journal endpoints"
    tables = [*rows.split(), "address_erasures"]
    query = " UNION ALL ".join(f"SELECT t::text FROM {table} t" for table in tables)
    return conn.execute(f"{query} ORDER BY 1").fetchall()


@pytest.fixture
def other(conn: psycopg.Connection) -> Rows:
    """Add another tenant with rows of every kind."""
    tenant = tenants.add(conn, "Other", "cmp_other")
    conn.execute("INSERT INTO users (tenant_id, external_id, name) VALUES (%s, '17', 'Theirs')", (tenant,))
    return insert_rows(conn, tenant, "cmp_other")


def test_a_token_of_one_tenant_finds_no_other_on_any_route(
    application: OpenAPI, mailroom: Mailroom, tenant: int, other: Rows, conn: psycopg.Connection
) -> None:
    ours = insert_rows(conn, tenant, "cmp_acme")
    bound = ApiClient(
        client=application.test_client(), token=token_for(mailroom, "acme", "--scope", "write", "--tenant", "Acme")
    )
    before = stored(conn)
    answered = answers(bound, application, other.tenant, other)
    of_one = {
        rule.endpoint for rule, _ in routes(application) if {"tenant_id", "number", "message_id"} & rule.arguments
    }
    of_one |= {"api.request_repairs", "api.stop_repairs", "api.add_endpoint", "api.export_address", "api.erase_address"}
    assert {endpoint: answered[endpoint].status_code for endpoint in of_one} == dict.fromkeys(of_one, 404)
    assert {endpoint for endpoint, answer in answered.items() if answer.status_code == 403} == FOR_ALL_TENANTS
    assert {answered[endpoint].status_code for endpoint in ("api.plan_job", "api.preview_job")} == {422}
    lists = set(answered) - of_one - FOR_ALL_TENANTS - {"api.plan_job", "api.preview_job"}
    assert {endpoint: answered[endpoint].status_code for endpoint in lists} == dict.fromkeys(lists, 200)
    shown = "".join(answered[endpoint].get_data(as_text=True) for endpoint in lists)
    assert "Acme" in shown
    assert not {"Other", "cmp_other", "Theirs"} & set(re.findall(r"\w+", shown))
    assert stored(conn) == before
    for noun in ("events", "tasks", "jobs", "repairs", "endpoints"):
        [row] = bound("GET", f"/{noun}")[noun]
        assert row["number" if noun == "events" else "id"] == getattr(ours, noun)
    assert [each["id"] for each in bound("GET", "/failure-groups")["groups"]] == [ours.groups]
    assert [each["id"] for each in bound("GET", "/tenants")["tenants"]] == [tenant]
    assert bound("GET", f"/repairs?ids={other.repairs}")["repairs"] == []
    assert bound("GET", "/tenants?name=Other")["tenants"] == []
    assert bound("GET", "/events?id=evt_cmp_other")["events"] == []


def test_a_token_of_one_tenant_changes_only_its_own(
    application: OpenAPI, mailroom: Mailroom, tenant: int, other: Rows, conn: psycopg.Connection
) -> None:
    ours = insert_rows(conn, tenant, "cmp_acme")
    bound = ApiClient(
        client=application.test_client(), token=token_for(mailroom, "acme", "--scope", "write", "--tenant", "Acme")
    )
    job = bound("POST", "/jobs", {"verb": "retry", "tasks": [ours.tasks, other.tasks]}, code=201)["job"]
    assert (job["total"], job["tenant_id"]) == (1, tenant)
    bound("POST", f"/jobs/{job['id']}/start")
    assert bound("POST", "/repairs/stop", {}) == {"stopped": 1}
    states = conn.execute("SELECT tenant_id, state FROM repairs ORDER BY tenant_id").fetchall()
    assert states == [(tenant, "stopped"), (other.tenant, "waiting")]


def test_a_tenant_out_of_sight_looks_like_one_that_is_not_there(
    application: OpenAPI, mailroom: Mailroom, acme: str, other: Rows
) -> None:
    bound = ApiClient(
        client=application.test_client(), token=token_for(mailroom, "acme", "--scope", "write", "--tenant", acme)
    )
    for method, path, body, number in (
        ("GET", "/tenants/{}", None, other.tenant),
        ("GET", "/events/{}", None, other.events),
        ("POST", "/events/{}/reveal", None, other.events),
        ("GET", "/attachments/{}/content", None, other.attachments),
        ("GET", "/tasks/{}", None, other.tasks),
        ("POST", "/tasks/{}/retry", {}, other.tasks),
        ("POST", "/tasks/{}/retry", {"attempts": 99}, other.tasks),
        ("POST", "/failure-groups/{}/decision", {"state": "fixed"}, other.groups),
        ("POST", "/jobs/{}/cancel", None, other.jobs),
    ):
        [hidden, missing] = [bound(method, path.format(each), body, code=404) for each in (number, 999_999)]
        assert hidden["detail"].replace(str(number), "ID") == missing["detail"].replace("999999", "ID"), path
        assert hidden["code"] == missing["code"], path


def test_a_token_that_reads_writes_on_no_route(
    application: OpenAPI, mailroom: Mailroom, tenant: int, conn: psycopg.Connection
) -> None:
    ours = insert_rows(conn, tenant, "cmp_acme")
    reader = ApiClient(client=application.test_client(), token=token_for(mailroom, "reader"))
    before = stored(conn)
    answered = answers(reader, application, tenant, ours)
    writing = {rule.endpoint for rule, method in routes(application) if method not in READING}
    hidden = {rule.endpoint for rule, _ in routes(application) if re.search("/message|/addresses", rule.rule)}
    assert {endpoint for endpoint, answer in answered.items() if answer.status_code == 403} == writing | hidden
    assert "scope_too_small" in reader.answer("POST", f"/tenants/{tenant}/pause").get_data(as_text=True)
    assert stored(conn) == before


@pytest.mark.parametrize(
    ("header", "code", "error"),
    [
        (None, "token_missing", ""),
        ("Basic dXNlcjpwYXNz", "token_missing", ""),
        ("Bearer", "token_missing", ""),
        ("Bearer mr_nobody", "token_invalid", ', error="invalid_token"'),
        ("Bearer \xff\xfe", "token_invalid", ', error="invalid_token"'),
    ],
)
def test_without_a_good_token_no_route_does_anything(
    application: OpenAPI, tenant: int, header: str | None, code: str, error: str
) -> None:
    client = application.test_client()
    for rule, method in routes(application):
        headers = {} if header is None else {"Authorization": header}
        answer = client.open("/api/v1" + path_of(rule, tenant), method=method, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (401, code), rule
        assert answer.headers["WWW-Authenticate"] == f'Bearer realm="mailroom"{error}'


@pytest.mark.parametrize(
    ("ending", "detail"),
    [("revoked_at = now()", "the token is revoked"), ("expires_at = now()", "the token is expired")],
)
def test_a_token_that_has_ended_is_refused(api: ApiClient, conn: psycopg.Connection, ending: str, detail: str) -> None:
    api("GET", "/tenants")
    conn.execute(f"UPDATE api_tokens SET {ending}")  # type: ignore[arg-type]
    assert api("GET", "/tenants", code=401)["detail"] == detail


def test_the_last_use_is_noted_once_a_minute(api: ApiClient, conn: psycopg.Connection) -> None:
    def noted() -> object:
        return conn.execute("SELECT last_used_at FROM api_tokens").fetchone()

    assert noted() == (None,)
    api("GET", "/tenants")
    first = noted()
    api("GET", "/tenants")
    assert noted() == first != (None,)
    conn.execute("UPDATE api_tokens SET last_used_at = now() - interval '61 seconds'")
    api("GET", "/tenants")
    assert noted() > first  # type: ignore[operator]


def test_tokens_go_with_their_tenant(mailroom: Mailroom, acme: str, tenant: int, conn: psycopg.Connection) -> None:
    token_for(mailroom, "acme", "--tenant", acme)
    conn.execute("DELETE FROM tenants WHERE id = %s", (tenant,))
    assert mailroom.json("api-token", "list") == []


def test_a_log_line_names_route_and_token_and_nothing_private(
    api: ApiClient, users: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"name": "Nora", "addresses": ["nora@acme.example"]}
    with caplog.at_level(logging.DEBUG):
        api("PUT", f"{users}/nora@acme.example", body, code=201, headers={"X-Request-ID": "from-the-crm-1"})
        api("GET", f"{users}?address=nora@acme.example")
    captured = capsys.readouterr()
    logged = captured.out + captured.err + caplog.text
    assert "route=/api/v1/tenants/<int:tenant_id>/users/<anything:external_id>" in logged
    assert "token_name=everything" in logged
    assert "request_id=from-the-crm-1" in logged
    assert "nora" not in logged.lower()
    assert api.token not in logged


@pytest.mark.parametrize(
    ("given", "kept"), [("from-the-crm-1", True), ("short", False), ("a b c d e f g h", False), ("x" * 65, False)]
)
def test_a_sane_request_id_is_kept_in_answer_and_problem(api: ApiClient, given: str, kept: bool) -> None:
    answer = api.answer("GET", "/tenants/999999", headers={"X-Request-ID": given})
    request_id = answer.headers["X-Request-ID"]
    assert answer.get_json()["instance"] == request_id
    assert (request_id == given) == kept


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/tenants/x", {}, 404, "not_found"),
        ("PUT", "/tenants", {"json": {}}, 405, "method_not_allowed"),
        ("POST", "/tenants", {"data": "{}"}, 415, "not_json"),
        ("POST", "/tenants", {"data": "{}", "content_type": "text/plain"}, 415, "not_json"),
        ("POST", "/tenants", {"json": {}, "headers": {"Content-Encoding": "gzip"}}, 415, "not_json"),
        ("POST", "/tenants", {"data": "{", "content_type": "application/json"}, 400, "malformed_json"),
        ("POST", "/tenants", {"data": b"\xff", "content_type": "application/json"}, 400, "malformed_json"),
        ("POST", "/tenants", {"data": "[" * 100_000, "content_type": "application/json"}, 400, "malformed_json"),
        ("POST", "/tenants", {"json": []}, 400, "malformed_json"),
        ("POST", "/tenants", {"json": '{"name": "Acme"}'}, 400, "malformed_json"),
        ("POST", "/tenants", {"json": {"name": "x" * 2**20}}, 413, "request_entity_too_large"),
        ("GET", "/tenants?limit=0", {}, 422, "invalid"),
        ("GET", "/tenants/99999999999999999999", {}, 422, "invalid"),
    ],
)
def test_every_error_is_a_problem(
    api: ApiClient, method: str, path: str, given: dict[str, Any], status: int, code: str
) -> None:
    said = api(method, path, code=status, **given)
    assert (said["status"], said["code"], said["type"]) == (status, code, f"urn:mailroom:problem:{code}")


class BrokenPool:
    """A connection pool with a bug and a secret in its error."""

    def run(self, work: object) -> object:
        raise RuntimeError("access_token=abc")


def test_a_bug_says_nothing_of_itself(api: ApiClient, application: OpenAPI) -> None:
    present = application.extensions["mailroom"]
    application.extensions["mailroom"] = dataclasses.replace(present, pool=BrokenPool())
    answer = api.answer("GET", "/tenants")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "bug")
    assert not {"abc", "RuntimeError", "Traceback"} & set(answer.get_data(as_text=True).replace('"', " ").split())


def test_options_names_the_allowed_methods(api: ApiClient, users: str) -> None:
    answer = api.answer("OPTIONS", f"{users}/bulk")
    assert (answer.status_code, "POST" in answer.headers["Allow"]) == (200, True)


def test_a_405_names_the_allowed_methods(api: ApiClient) -> None:
    assert "POST" in api.answer("PUT", "/tenants").headers["Allow"]
