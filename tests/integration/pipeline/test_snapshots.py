"""Later attempts use what an attempt read of a conversation in Front, until something newer is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.models import Source, SourceType
from sandbox.world import Cause, set_status
from shared.connection.budget import LIVE_CALLS
from shared.db.tasks import manual_changes
from shared.redis_clients import brief_redis_client
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from workers.changes.precedence import SHORT_SNAPSHOT_SECONDS, SNAPSHOT_SECONDS

TAGGED = "tagged@acme.example"
TO_TAGGED = [{"handle": "sender@elsewhere.example", "role": "from"}, {"handle": TAGGED, "role": "to"}]


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    [_, tag] = harness.control("companies", {"id": "cmp_acme", "name": "Acme"})["tags"][:2]
    harness.user(tenant, TAGGED, action=f"tag:{tag['id']}")
    return tenant


def old_mail(harness: Harness, **order: Any) -> dict[str, Any]:
    """Have Front send a mail to Nora that was two minutes on its way, and record it."""
    now = float(harness.one("SELECT extract(epoch FROM now())::float8"))
    order = {"recipients": TO_NORA, "emitted_at": now - order.pop("age", 120.0), **order}
    [event] = harness.send("inbound_received", "cmp_acme", **order)
    harness.record()
    return event


def work_again(harness: Harness) -> None:
    """Let Front answer again, and work until nothing is open or 5 s are over, which is longer than any 429 lasts."""
    harness.clear_faults()
    for _ in range(50):
        harness.make_due()
        harness.work()
        if not harness.one("SELECT count(*)::int FROM tasks WHERE state IN ('ready', 'queued', 'running')"):
            return
        harness.resources.stop.wait(0.1)


def calls(harness: Harness) -> list[str]:
    """Return the calls that Front received since this was asked last, as method and last part of the path."""
    all_calls = harness.control("ledger/calls")["calls"]
    new = all_calls[getattr(harness, "_seen", 0) :]
    harness._seen = len(all_calls)  # type: ignore[attr-defined]
    return [f"{call['method']} {_part(call['path'])}" for call in new]


def _part(path: str) -> str:
    last = path.partition("?")[0].rsplit("/", 1)[-1]
    return "conversation" if last.startswith("cnv_") else last


READ = ["GET conversation", "GET events"]
ARCHIVE = ["PATCH conversation"]
TAG = ["POST tags"]


def states(harness: Harness) -> list[tuple[str, str]]:
    return harness.sql("SELECT state, split_part(reason, ':', 1) FROM actions ORDER BY event_id")


def refuse(harness: Harness, method: str = "PATCH", kind: str = "429", **more: Any) -> None:
    """Have Front refuse the next such call. A 5xx would leave a write unclear."""
    harness.control("faults", {"kind": kind, "method": method, "count": 1, **more})


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("kind", ["429", "429_no_retry_after", "429_burst", "403", "401"])
def test_the_conversation_is_not_read_again_after_a_refused_change(harness: Harness, kind: str) -> None:
    old_mail(harness)
    refuse(harness, kind=kind, count=2 if kind == "401" else 1)
    harness.work()
    assert calls(harness)[:3] == READ + ARCHIVE
    assert states(harness)[0][0] == "planned"
    harness.sql("UPDATE tenants SET parked_cause = NULL, parked_at = NULL, probe_task_id = NULL")
    work_again(harness)
    assert calls(harness) == ARCHIVE
    assert states(harness) == [("confirmed", "applied")]


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize(("kind", "count"), [("500", 3), ("503", 3), ("reset_before", 3), ("429", 1), ("403", 1)])
def test_only_the_missing_part_is_read_again(harness: Harness, kind: str, count: int) -> None:
    old_mail(harness)
    refuse(harness, "GET", kind, path_regex="/events", count=count)
    harness.work()
    assert calls(harness)[0] == "GET conversation"
    harness.resources.stop.wait(1.1)  # Front allows five calls a second for a conversation
    harness.sql("UPDATE tenants SET parked_cause = NULL, parked_at = NULL, probe_task_id = NULL")
    work_again(harness)
    assert calls(harness) == ["GET events", *ARCHIVE]
    assert states(harness) == [("confirmed", "applied")]


def trash(harness: Harness, conversation: str, by: SourceType) -> None:
    """Trash the conversation in Front, and record the webhook of that."""
    front, waiting = harness.sandbox.front, harness.resources.intake.depth()
    cause = Cause(source=Source(type=by), at=front.now())
    event = set_status(front.world, ("cmp_acme", conversation), "deleted", cause)
    assert event
    front.announce(event)
    while harness.resources.intake.depth() == waiting:
        harness.resources.stop.wait(0.02)
    harness.record()


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("event_type", ["outbound_sent", "new_comment_added", "tag_added", "assignee_changed"])
def test_a_recorded_event_of_the_conversation_spoils_the_snapshot(harness: Harness, event_type: str) -> None:
    event = old_mail(harness)
    refuse(harness)
    harness.work()
    harness.send(event_type, "cmp_acme", conversation=event["conversation_id"])
    harness.record()
    calls(harness)
    work_again(harness)
    assert calls(harness) == READ + ARCHIVE


@pytest.mark.usefixtures("tenant")
def test_an_event_of_another_conversation_spoils_nothing(harness: Harness) -> None:
    old_mail(harness)
    refuse(harness)
    harness.work()
    harness.send("outbound_sent", "cmp_acme")
    harness.record()
    calls(harness)
    work_again(harness)
    assert calls(harness) == ARCHIVE


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("by", ["teammate", "rule", "api"])
def test_a_conversation_that_was_trashed_meanwhile_stays_in_the_trash(harness: Harness, by: SourceType) -> None:
    event = old_mail(harness)
    refuse(harness)
    harness.work()
    trash(harness, event["conversation_id"], by)
    work_again(harness)
    assert harness.status(event["conversation_id"]) == "deleted"
    assert states(harness) == [("superseded", "changed_by_somebody")]


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "503", "cut_body"])
def test_after_an_unclear_change_the_conversation_is_read_anew(harness: Harness, fault: str) -> None:
    event = old_mail(harness)
    refuse(harness, kind=fault)
    harness.work()
    assert calls(harness) == READ + ARCHIVE
    assert states(harness)[0][0] == "intent"
    work_again(harness)
    assert calls(harness)[0] == "GET conversation"
    assert harness.status(event["conversation_id"]) == "archived"
    assert harness.control("verdict")["double"] == 0


def test_a_snapshot_taken_after_an_unclear_change_is_not_used_either(harness: Harness, tenant: int) -> None:
    """The change may still be on its way to Front when the conversation is read."""
    old_mail(harness)
    refuse(harness, kind="reset_before")
    harness.work()
    refuse(harness, "GET", "503", path_regex="/events", count=3)
    harness.make_due()
    harness.work()
    assert harness.one("SELECT count(*)::int FROM conversation_snapshots WHERE tenant_id = %s", tenant) == 1
    calls(harness)
    work_again(harness)
    assert calls(harness) == READ + ARCHIVE


@pytest.mark.parametrize(
    ("action", "seconds", "reads"),
    [
        ("archive", SNAPSHOT_SECONDS - 30, []),
        ("archive", SNAPSHOT_SECONDS + 1, READ),
        ("trash", SHORT_SNAPSHOT_SECONDS - 30, []),
        ("trash", SHORT_SNAPSHOT_SECONDS + 1, READ),
    ],
)
def test_a_snapshot_is_good_for_ten_minutes_and_for_trash_one(
    harness: Harness, tenant: int, action: str, seconds: float, reads: list[str]
) -> None:
    harness.sql("UPDATE tenants SET action = %s WHERE id = %s", action, tenant)
    old_mail(harness)
    refuse(harness)
    harness.work()
    calls(harness)
    harness.sql("UPDATE conversation_snapshots SET taken_at = taken_at - make_interval(secs => %s)", seconds)
    work_again(harness)
    assert calls(harness) == reads + ARCHIVE


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize(
    ("first", "second", "first_ends", "expected"),
    [
        (TO_NORA, TO_TAGGED, ("superseded", "newer_message"), READ + TAG),
        (TO_TAGGED, TO_NORA, ("confirmed", "applied"), ["GET conversation", *TAG, "GET events", *ARCHIVE]),
    ],
)
def test_two_actions_of_a_conversation_read_it_once(
    harness: Harness, first: list[Any], second: list[Any], first_ends: tuple[str, str], expected: list[str]
) -> None:
    event = old_mail(harness, recipients=first, age=180.0)
    old_mail(harness, recipients=second, conversation=event["conversation_id"])
    work_again(harness)
    assert states(harness) == [first_ends, ("confirmed", "applied")]
    assert calls(harness) == expected


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize(("source", "expected"), [("api", TAG), ("teammate", ["GET conversation", *TAG])])
def test_our_own_archive_does_not_spoil_the_snapshot_for_a_tag(
    harness: Harness, source: SourceType, expected: list[str]
) -> None:
    event = old_mail(harness, recipients=TO_TAGGED)
    refuse(harness, "POST")
    harness.work()
    harness.send("conversation_archived", "cmp_acme", conversation=event["conversation_id"])
    harness.record()
    harness.sql("UPDATE events SET source = %s WHERE type = 'conversation_archived'", source)
    calls(harness)
    work_again(harness)
    assert calls(harness) == expected


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize(("later", "expected"), [("archive", READ + ARCHIVE), ("tag:tag_other", ARCHIVE)])
def test_a_change_that_we_sent_since_spoils_the_snapshot_of_what_it_changed(
    harness: Harness, later: str, expected: list[str]
) -> None:
    before = old_mail(harness, age=180.0, recipients=TO_TAGGED)
    work_again(harness)
    old_mail(harness, conversation=before["conversation_id"])
    refuse(harness)
    harness.work()
    harness.sql("UPDATE actions SET kind = %s, intent_at = now() WHERE state = 'confirmed'", later)
    calls(harness)
    work_again(harness)
    assert calls(harness) == expected


@pytest.mark.parametrize(
    ("recipients", "method", "undo"), [(TO_NORA, "PATCH", ARCHIVE), (TO_TAGGED, "DELETE", ["DELETE tags"])]
)
@pytest.mark.parametrize(("seconds", "reads"), [(0.0, []), (SHORT_SNAPSHOT_SECONDS, READ)])
def test_an_undo_uses_a_snapshot_of_the_last_minute(
    harness: Harness,
    tenant: int,
    recipients: list[Any],
    method: str,
    undo: list[str],
    seconds: float,
    reads: list[str],
) -> None:
    event = old_mail(harness, recipients=recipients)
    harness.work()
    since = datetime.now(UTC) - timedelta(hours=1)
    mine = [event["conversation_id"]]
    harness.resources.pool.run(lambda conn: manual_changes.request_undo(conn, tenant, mine, since=since, who="olga"))
    refuse(harness, method)
    harness.resources.stop.wait(1.1)  # Front allows five calls a second for a conversation
    harness.work()
    calls(harness)
    harness.sql("UPDATE conversation_snapshots SET taken_at = taken_at - make_interval(secs => %s)", seconds)
    harness.resources.stop.wait(1.1)
    work_again(harness)
    assert calls(harness) == reads + undo
    assert states(harness)[0][0] == "undone"


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize(
    ("fault", "free", "made"),
    [
        ({"method": "PATCH"}, 1, ARCHIVE),
        ({"method": "GET", "path_regex": "/events"}, 1, []),
        ({"method": "GET", "path_regex": "/events"}, 2, ["GET events", *ARCHIVE]),
    ],
)
def test_an_attempt_reserves_only_the_calls_that_a_snapshot_does_not_save(
    harness: Harness, fault: dict[str, Any], free: int, made: list[str]
) -> None:
    old_mail(harness)
    harness.control("faults", {"kind": "429", "count": 1, **fault})
    harness.work()
    calls(harness)
    harness.resources.stop.wait(1.1)  # the 429's Retry-After
    with brief_redis_client(harness.settings.redis_url.get_secret_value()) as redis:
        counted = redis.zcard("mailroom:front:calls:cmp_acme")
        redis.set("mailroom:front:limit:cmp_acme", counted + LIVE_CALLS + free)
        redis.delete("mailroom:front:pause:cmp_acme")
    harness.make_due()
    harness.work()
    assert calls(harness) == made


@pytest.mark.usefixtures("tenant")
def test_a_lone_action_that_succeeds_keeps_nothing(harness: Harness) -> None:
    old_mail(harness)
    harness.work()
    assert calls(harness) == READ + ARCHIVE
    assert harness.one("SELECT count(*)::int FROM conversation_snapshots") == 0


@pytest.mark.usefixtures("tenant")
def test_the_sweeper_deletes_snapshots_that_no_action_may_use(harness: Harness) -> None:
    old_mail(harness)
    refuse(harness)
    harness.work()
    [taken_at] = harness.sql("SELECT taken_at FROM conversation_snapshots")[0]
    harness.sql("UPDATE conversation_snapshots SET taken_at = taken_at - make_interval(secs => %s)", SNAPSHOT_SECONDS)
    harness.sql(
        "INSERT INTO conversation_snapshots SELECT tenant_id, 'cnv_other', %s, status_events, tag_events, status,"
        " tag_ids, events, events_since FROM conversation_snapshots",
        taken_at,
    )
    harness.sweep("forget_snapshots")
    assert harness.sql("SELECT conversation_id FROM conversation_snapshots") == [("cnv_other",)]
