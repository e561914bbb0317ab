"""Events, tasks, groups of failures, jobs, repairs and the rest, as the API lists, shows and changes them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from shared.db import api_answers
from tests.integration.console.api.client import ApiClient, token_for
from tests.integration.console.rows import BODY, at, insert, insert_archived_event, insert_event, insert_task

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

    from tests.integration.console.conftest import Mailroom


@pytest.fixture
def failed(tenant: int, conn: psycopg.Connection) -> list[int]:
    """Insert three failed tasks of three conversations."""
    return [
        insert_task(conn, insert_event(conn, front_id=f"evt_{n}", conversation_id=f"cnv_{n}", state="failed"))
        for n in range(3)
    ]


def whole_list(api: ApiClient, path: str, noun: str, *, limit: int) -> list[Any]:
    """Return all rows of a list, read page by page."""
    rows: list[Any] = []
    after = ""
    while True:
        page = api("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}{after}")
        assert len(page[noun]) <= limit
        rows += page[noun]
        if page["next"] is None:
            return rows
        after = f"&after={page['next']}"


def test_an_event_is_shown_as_the_command_shows_it(
    api: ApiClient, mailroom: Mailroom, tenant: int, conn: psycopg.Connection
) -> None:
    number = insert_archived_event(conn)
    shown = api("GET", f"/events/{number}")
    assert shown == mailroom.json("event", "show", "evt_1")
    assert shown["recipients"][0]["handle"] == "Nora@acme.example"
    assert "a secret sentence" not in json.dumps(shown)
    assert api("GET", "/events")["events"] == mailroom.json("event", "list")
    for name in ("evt_1", str(number), f"{number:032x}"):
        assert [each["number"] for each in api("GET", f"/events?id={name}")["events"]] == [number]
    assert api("GET", "/events/99", code=404)["code"] == "unknown_event"


def test_a_body_takes_the_right_to_reveal_and_leaves_an_entry(
    application: OpenAPI, api: ApiClient, mailroom: Mailroom, tenant: int, conn: psycopg.Connection
) -> None:
    number = insert_event(conn)
    answer = api.answer("POST", f"/events/{number}/reveal")
    assert (answer.get_data(), answer.content_type) == (BODY, "application/octet-stream")
    reader = ApiClient(client=application.test_client(), token=token_for(mailroom, "reader"))
    reader("POST", f"/events/{number}/reveal", code=403)
    entries = conn.execute("SELECT verb, allowed FROM audit ORDER BY id").fetchall()
    assert entries == [("reveal", True), ("reveal", False)]
    conn.execute("UPDATE deliveries SET body = NULL")
    assert api("POST", f"/events/{number}/reveal", code=404)["code"] == "body_gone"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("?q=state:failed", [2, 1, 0]),
        ("?state=done", []),
        ("?q=conversation:cnv_1", [1]),
        ("?conversation=cnv_1&state=failed", [1]),
        ("?tenant=Acme&q=kind:apply_action", [2, 1, 0]),
        ("?q=since:1h", [2, 1, 0]),
        ("?until=1h", []),
    ],
)
def test_tasks_are_narrowed_by_words_and_by_parameters(
    api: ApiClient, failed: list[int], query: str, found: list[int]
) -> None:
    assert [each["id"] for each in api("GET", f"/tasks{query}")["tasks"]] == [failed[each] for each in found]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("q=state:failed&state=done", "state is there twice"),
        ("q=colour:red", "there is no word 'colour' here"),
        ("state=odd", "there is no state 'odd'"),
        ("tenant=Nobody", "there is no tenant 'Nobody'"),
        ("q=evt_1", "is no filter word"),
        ("since=yesterday", "is no time"),
        ("q='", "a quotation mark has no end"),
        ("group=x", "is no number of a group"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(api: ApiClient, tenant: int, query: str, detail: str) -> None:
    said = api("GET", f"/tasks?{query}", code=422)
    assert said["code"] == "bad_filter"
    assert detail in said["detail"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_lists_go_on_where_their_page_ended(
    api: ApiClient, failed: list[int], conn: psycopg.Connection, limit: int
) -> None:
    conn.execute("UPDATE failure_groups SET last_seen = now()")
    for code in "abcd":
        group = {"kind": "apply_action", "code": code, "signature": "", "last_seen": at(0), "state": "fixed"}
        insert(conn, "failure_groups", **group)
    conn.execute("INSERT INTO repairs (tenant_id, requested_by) SELECT 1, 'nora' FROM generate_series(1, 5)")
    job = api("POST", "/jobs", {"verb": "retry", "tasks": failed}, code=201)["job"]["id"]
    for path, noun, key, count in (
        ("/events", "events", "number", 3),
        ("/tasks?state=failed", "tasks", "id", 3),
        ("/failure-groups?state=fixed", "groups", "id", 4),
        ("/repairs", "repairs", "id", 5),
        ("/jobs", "jobs", "id", 1),
        (f"/jobs/{job}/items", "items", "task_id", 3),
        ("/audit", "entries", "id", 1),
        ("/parked", "tenants", "tenant_id", 0),
    ):
        numbers = [each[key] for each in whole_list(api, path, noun, limit=limit)]
        assert len(set(numbers)) == len(numbers) == count, path
        assert numbers == sorted(numbers, reverse=noun != "items"), path


def test_a_cursor_is_good_for_its_own_list_alone(
    application: OpenAPI, api: ApiClient, mailroom: Mailroom, failed: list[int]
) -> None:
    following = api("GET", "/tasks?state=failed&limit=1")["next"]
    assert [each["id"] for each in api("GET", f"/tasks?state=failed&after={following}")["tasks"]] == failed[1::-1]
    bound = ApiClient(client=application.test_client(), token=token_for(mailroom, "acme", "--tenant", "Acme"))
    for client, path in (
        (api, f"/tasks?after={following}"),
        (api, f"/tasks?state=done&after={following}"),
        (api, f"/events?state=failed&after={following}"),
        (bound, f"/tasks?state=failed&after={following}"),
        (api, "/tasks?after=nonsense"),
        (api, "/tasks?after=W10"),
    ):
        [fault] = client("GET", path, code=422)["errors"]
        assert fault["code"] == "bad_cursor"


def test_a_task_is_retried_and_discarded(api: ApiClient, failed: list[int], conn: psycopg.Connection) -> None:
    shown = api("GET", f"/tasks/{failed[0]}")
    assert [each["why_not"] for each in shown["possible_changes"]] == [None, None]
    assert api("POST", f"/tasks/{failed[0]}/retry", {"attempts": 3})["task"]["state"] == "ready"
    in_the_way = api("POST", f"/tasks/{failed[0]}/retry", {}, code=409)
    assert (in_the_way["code"], "it is ready" in in_the_way["detail"]) == ("moved_on", True)
    assert in_the_way["possible_changes"] == [
        {"verb": "retry", "why_not": "it is ready"},
        {"verb": "discard", "why_not": None},
    ]
    assert api("POST", f"/tasks/{failed[1]}/retry", {"attempts": 2}, code=409)["code"] == "moved_on"
    assert api("POST", f"/tasks/{failed[1]}/discard", {"reason": " "}, code=422)["code"] == "reason_missing"
    assert api("POST", f"/tasks/{failed[1]}/discard", {"reason": "a test"})["task"]["state"] == "discarded"
    assert conn.execute("SELECT verb, target, allowed FROM audit ORDER BY id").fetchall() == [
        ("retry", f"task {failed[0]}", True),
        ("discard", f"task {failed[1]}", True),
    ]


def test_the_action_of_a_task_is_changed(api: ApiClient, failed: list[int], conn: psycopg.Connection) -> None:
    path = f"/tasks/{failed[0]}"
    refused = api("PATCH", path, {"action": "trash"}, code=409)
    assert "it applies no action" in refused["detail"]
    assert [each["verb"] for each in refused["possible_changes"]] == ["retry", "discard"]
    conn.execute(
        "INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at)"
        " SELECT event_id, tenant_id, 'cnv_1', 'archive', 'stored', 'failed', 'front_rejected', now() FROM tasks"
        " WHERE id = %s",
        (failed[0],),
    )
    shown = api("GET", path)
    assert (shown["action"]["kind"], len(shown["delivery"])) == ("archive", 32)
    assert shown["possible_changes"][-1] == {"verb": "edit_action", "why_not": None}
    assert api("PATCH", path, {"action": "mark_read"}, code=422)["code"] == "invalid_policy"
    assert api("PATCH", path, {"action": "archive"}, code=422)["code"] == "same_action"
    assert api("PATCH", path, {"action": "trash", "was": "none"}, code=409)["code"] == "moved_on"
    assert api("PATCH", path, {"action": "trash", "attempts": 2}, code=409)["code"] == "moved_on"
    changed = api("PATCH", path, {"action": "trash", "was": "archive", "attempts": 3})
    assert (changed["task"]["state"], changed["action"]["kind"]) == ("ready", "trash")
    conn.execute("UPDATE actions SET state = 'intent', intent_at = now()")
    in_the_way = api("PATCH", path, {"action": "archive"}, code=409)
    assert "nobody knows whether Front has the change" in in_the_way["detail"]


def test_an_event_runs_again_from_a_step(
    application: OpenAPI, api: ApiClient, mailroom: Mailroom, failed: list[int], conn: psycopg.Connection
) -> None:
    number = api("GET", f"/tasks/{failed[0]}")["task"]["event_number"]
    shown = api("GET", f"/events/{number}")
    runs = {each["from"]: each for each in shown["possible_runs"]}
    assert list(runs) == ["record", "fetch_message", "store_attachment", "apply_action"]
    path = f"/events/{number}/run-again"
    refused = api("POST", path, {"from": "fetch_message"}, code=409)
    assert (refused["code"], "nothing was fetched" in refused["detail"]) == ("cannot_run_again", True)
    assert [each["verb"] for each in refused["possible_changes"] if each["why_not"] is None] == ["record"]
    assert api("POST", path, {"from": "record", "version": "old"}, code=409)["code"] == "cannot_run_again"
    assert api("POST", path, {"from": "nonsense"}, code=422)["errors"][0]["pointer"] == "#/from"
    assert api("POST", path, {"from": "record", "version": shown["version"]})["tasks"][-1]["kind"] == "record"
    assert api("POST", "/events/99999/run-again", {"from": "record"}, code=404)["code"] == "unknown_event"
    reader = ApiClient(client=application.test_client(), token=token_for(mailroom, "reader"))
    assert api("POST", f"/events/{number}/fixture", code=422)["code"] == "no_fixture"
    for copy in ("curl", "fixture", "run-again"):
        assert reader("POST", f"/events/{number}/{copy}", {"from": "record"}, code=403)["code"] == "scope_too_small"


def test_a_group_of_failures_is_decided(api: ApiClient, failed: list[int]) -> None:
    [group] = api("GET", "/failure-groups")["groups"]
    assert group["failed"] == 3
    path = f"/failure-groups/{group['id']}"
    decided = api("POST", f"{path}/decision", {"state": "ignored", "days": 7, "note": "known"})["group"]
    assert (decided["state"], decided["state_by"], decided["note"]) == ("ignored", "API token everything", "known")
    assert api("GET", path)["group"] == decided
    assert api("GET", "/failure-groups")["groups"] == []
    assert len(api("GET", f"/tasks?group={group['id']}")["tasks"]) == 3


def test_a_job_is_planned_started_and_cancelled(api: ApiClient, failed: list[int]) -> None:
    assert [each["count"] for each in api("GET", "/jobs/preview?verb=retry&q=state:failed")["groups"]] == [3]
    planned = api("POST", "/jobs", {"verb": "retry", "q": "state:failed", "per_minute": 10}, code=201)
    number = planned["job"]["id"]
    assert (planned["outcomes"], planned["job"]["words"]) == ({"open": 3}, "state:failed")
    assert [each["count"] for each in api("GET", f"/jobs/{number}/groups")["groups"]] == [3]
    assert api("POST", f"/jobs/{number}/start")["job"]["state"] == "running"
    said = api("POST", f"/jobs/{number}/start", code=409)
    assert said["code"] == "job_moved_on"
    assert [each["verb"] for each in said["possible_changes"] if each["why_not"] is None] == ["pause", "cancel"]
    assert api("POST", f"/jobs/{number}/pause")["job"]["state"] == "paused"
    assert api("POST", f"/jobs/{number}/cancel")["job"]["state"] == "cancelled"
    assert api("POST", f"/jobs/{number}/explode", code=422)["code"] == "invalid"
    assert api("POST", "/jobs", {"verb": "retry"}, code=422)["code"] == "filter_too_wide"


def test_repairs_are_requested_and_stopped(api: ApiClient, tenant: int, conn: psycopg.Connection) -> None:
    order = {"tenant_ids": [tenant], "since": "6h", "dry_run": True}
    assert api("POST", "/repairs", order, code=409)["code"] == "nothing_received"
    conn.execute("INSERT INTO seen_event_types (type) VALUES ('inbound')")
    assert [each["id"] for each in api("GET", "/repairs/candidates")["tenants"]] == [tenant]
    [number] = api("POST", "/repairs", order, code=201)["repair_ids"]
    [shown] = api("GET", f"/repairs?ids={number}")["repairs"]
    assert (shown["tenant"], shown["state"], shown["dry_run"]) == ("Acme", "waiting", True)
    assert api("POST", "/repairs/stop", {}) == {"stopped": 1}
    assert api("POST", "/repairs", {**order, "tenant_ids": [99]}, code=404)["code"] == "unknown_tenant"
    api("POST", "/repairs", {**order, "since": "0001-01-01T00:00+14:00"}, code=422)
    assert api("POST", "/repairs", {**order, "since": "x"}, code=422)["errors"][0]["pointer"] == "#/since"


def test_parked_work_status_processes_and_audit(
    api: ApiClient, mailroom: Mailroom, tenant: int, conn: psycopg.Connection
) -> None:
    insert_task(conn, insert_event(conn, state="processing"), state="ready")
    insert_event(conn, front_id="evt_2", company="cmp_new", state="parked", cause="unknown_company")
    insert(conn, "processes", name="worker@host:1", kind="worker", slots=4)
    api("POST", f"/tenants/{tenant}/pause")
    parked = api("GET", "/parked")
    assert [(each["tenant"], each["cause"], each["tasks"]) for each in parked["tenants"]] == [("Acme", "paused", 1)]
    assert {each["cause"] for each in parked["causes"]} == {"paused", "unknown_company"}
    assert [each["company_id"] for each in parked["companies"]] == ["cmp_new"]
    assert api("GET", "/processes")["processes"] == [{"kind": "worker", "count": 1, "slots": 4}]
    assert api("GET", "/status") == mailroom.json("status")
    [entry] = api("GET", "/audit?verb=pause&allowed=true")["entries"]
    assert (entry["who"], entry["tenant"], entry["after"]["parked_cause"]) == ("API token everything", "Acme", "paused")
    assert api("GET", "/audit?allowed=false")["entries"] == []


def test_a_list_that_takes_too_long_is_refused(api: ApiClient, failed: list[int], database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        said = api("GET", "/tasks", code=422)
    assert (said["code"], "narrow the search" in said["detail"]) == ("too_slow", True)


def test_a_request_with_a_key_creates_once(
    application: OpenAPI, api: ApiClient, mailroom: Mailroom, failed: list[int], conn: psycopg.Connection
) -> None:
    headers = {"Idempotency-Key": "nightly-1"}
    order = {"verb": "retry", "q": "state:failed"}
    first = api("POST", "/jobs", order, code=201, headers=dict(headers))
    again = api("POST", "/jobs", dict(reversed(order.items())), code=201, headers=dict(headers))
    assert again == first
    said = api("POST", "/jobs", {**order, "per_minute": 1}, code=422, headers=dict(headers))
    assert said["code"] == "idempotency_key_reused"
    assert len(api("GET", "/jobs")["jobs"]) == 1
    other = ApiClient(client=application.test_client(), token=token_for(mailroom, "other", "--scope", "write"))
    assert other("POST", "/jobs", order, code=201, headers=dict(headers)) != first
    conn.execute("UPDATE api_answers SET created_at = now() - interval '25 hours'")
    assert api("POST", "/jobs", order, code=201, headers=dict(headers)) != first


def test_the_same_key_at_the_same_time_creates_once(
    application: OpenAPI, api: ApiClient, failed: list[int], conn: psycopg.Connection
) -> None:
    def plan(_: int) -> Any:
        client = ApiClient(client=application.test_client(), token=api.token)
        order = {"verb": "retry", "q": "state:failed"}
        return client("POST", "/jobs", order, code=201, headers={"Idempotency-Key": "twice"})["job"]["id"]

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(plan, range(8)))) == 1
    assert conn.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    conn.execute("UPDATE api_answers SET created_at = now() - interval '25 hours'")
    assert api_answers.forget_old(conn) == 1


def test_a_refused_request_leaves_its_key_free(api: ApiClient, tenant: int) -> None:
    headers = {"Idempotency-Key": "tenant-1"}
    api("POST", "/tenants", {"name": "Acme"}, code=409, headers=dict(headers))
    made = api("POST", "/tenants", {"name": "New"}, code=201, headers=dict(headers))
    assert api("POST", "/tenants", {"name": "New"}, code=201, headers=dict(headers)) == made
    api("POST", "/tenants", {"name": "New"}, code=409)
    api("POST", "/tenants", {"name": "N"}, code=422, headers={"Idempotency-Key": "with a blank"})


def test_the_words_of_the_lists_are_listed_with_values(
    application: OpenAPI, api: ApiClient, mailroom: Mailroom, failed: list[int]
) -> None:
    lists = {
        each["path"]: {word["word"]: word for word in each["words"]} for each in api("GET", "/filter-words")["lists"]
    }
    assert lists.keys() == {"events", "tasks", "failure-groups"}
    assert lists["tasks"]["tenant"]["values"] == ["Acme"]
    assert lists["tasks"]["code"]["values"] == ["front_unavailable"]
    assert lists["tasks"]["job"]["values"] == []
    for path, words in lists.items():
        for word in words.values():
            for value in word["values"]:
                api("GET", f"/{path}?{word['word']}={value}")
    bound = ApiClient(client=application.test_client(), token=token_for(mailroom, "bound", "--tenant", "Acme"))
    assert bound("GET", "/filter-words")["lists"][0]["words"][0] == {
        "word": "tenant", "meaning": "name or company id", "values": [],
    }  # fmt: skip


def test_events_tasks_and_groups_are_narrowed_by_every_word(
    api: ApiClient, failed: list[int], conn: psycopg.Connection
) -> None:
    conn.execute("""UPDATE events SET recipients = '[["ap@acme.example", "to", null, ""]]' WHERE front_id = 'evt_1'""")
    assert len(api("GET", "/events?email=AP@acme.example&tenant=Acme")["events"]) == 1
    assert api("GET", "/events?q=email:ap@acme.example", code=422)["code"] == "bad_filter"
    assert api("GET", "/tasks?email=ap@acme.example", code=422)["code"] == "invalid"
    api("POST", "/jobs", {"verb": "retry", "tasks": failed[:2]}, code=201)
    assert [each["id"] for each in api("GET", "/tasks?job=J1")["tasks"]] == failed[1::-1]
    assert api("GET", "/tasks?job=x", code=422)["code"] == "bad_filter"
    assert len(api("GET", "/failure-groups?since=1h&until=2200-01-01")["groups"]) == 1
    assert api("GET", "/failure-groups?until=1h")["groups"] == []
