"""`tenant policy --undo-since` prints its plan and asks first. Without workers it says how to watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.console.rows import insert, insert_event

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom

UNDO = ("tenant", "policy", "Acme", "--undo-since")


def insert_action(conn: psycopg.Connection[Any], number: int, **columns: Any) -> int:
    """Insert an action on a conversation of its own, sent to Front and confirmed a minute ago."""
    conversation = f"cnv_{number}"
    event = insert_event(conn, front_id=f"evt_{number}", conversation_id=conversation)
    tenant = conn.execute(
        "SELECT tenant_id, now() - interval '1 minute' FROM events WHERE id = %s", (event,)
    ).fetchone()
    assert tenant
    known = {"kind": "archive", "wait_for": "stored", "state": "confirmed", "reason": "applied"}
    times = dict.fromkeys(("emitted_at", "intent_at", "settled_at", "planned_at"), tenant[1])
    ids = {"event_id": event, "tenant_id": tenant[0], "conversation_id": conversation}
    insert(conn, "actions", **(ids | known | times | columns))
    return event


@pytest.fixture
def archived(acme: str, conn: psycopg.Connection[Any]) -> list[int]:
    """Two archived conversations, a tagged one, one with a waiting archive, one not ours, and one too old."""
    waiting = {"state": "planned", "intent_at": None, "settled_at": None}
    insert_action(conn, 8, intent_at=None)
    insert_action(conn, 9, settled_at="2026-01-01T00:00:00Z", planned_at="2026-01-01T00:00:00Z")
    return [
        insert_action(conn, 1),
        insert_action(conn, 2),
        insert_action(conn, 3, kind="tag:tag_1"),
        insert_action(conn, 4, **waiting),
    ]


@pytest.mark.usefixtures("archived")
def test_a_dry_run_tells_what_would_be_undone_and_asks_for_nothing(
    mailroom: Mailroom, conn: psycopg.Connection[Any]
) -> None:
    told = mailroom(*UNDO, "2h", "--dry-run").stderr
    assert "2  archived: opened again" in told
    assert "1  given tag_1: taken off" in told
    assert "1  would still be archived: not any more" in told
    plan = mailroom.json(*UNDO, "2h", "--dry-run")
    assert [(part["kind"], part["waiting"], part["conversations"]) for part in plan["plan"]] == [
        ("archive", False, 2),
        ("tag:tag_1", False, 1),
        ("archive", True, 1),
    ]
    assert conn.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM actions WHERE undo_asked_at IS NOT NULL").fetchone() == (0,)


def test_a_requested_undo_is_a_task_and_stands_in_the_timeline(
    mailroom: Mailroom, archived: list[int], conn: psycopg.Connection[Any]
) -> None:
    result = mailroom(*UNDO, "2h", "--yes")
    assert "no worker is alive" in result.stderr
    assert "4 under way" in result.stdout
    assert conn.execute("SELECT event_id FROM tasks WHERE kind = 'undo_action' ORDER BY 1").fetchall() == [
        (event,) for event in archived[:3]
    ]
    shown = mailroom.json("event", "show", "evt_1")
    assert shown["state"] == "processing"
    assert [moment["what"] for moment in shown["timeline"]][-1] == "undo asked"
    assert shown["timeline"][-1]["who"]
    assert len(mailroom.json("task", "list", "--kind", "undo_action")) == 3


@pytest.mark.usefixtures("archived")
def test_asking_again_asks_for_nothing_new(mailroom: Mailroom, conn: psycopg.Connection[Any]) -> None:
    mailroom(*UNDO, "2h", "--yes")
    assert "4  asked for before and still under way" in mailroom(*UNDO, "2h", "--yes").stderr
    conn.execute("UPDATE tasks SET state = 'done'")
    conn.execute("UPDATE actions SET state = 'undone', undone_at = now() WHERE state = 'confirmed'")
    conn.execute("UPDATE actions SET state = 'superseded' WHERE state = 'planned'")
    conn.execute("UPDATE actions SET state = 'skipped' WHERE undo_asked_at IS NULL")
    assert "nothing to undo" in mailroom(*UNDO, "2h", "--yes", code=3).stderr


@pytest.mark.usefixtures("archived")
def test_a_parked_tenant_is_told_of(mailroom: Mailroom) -> None:
    mailroom("tenant", "pause", "Acme")
    assert "the tenant is parked (paused)" in mailroom(*UNDO, "2h", "--yes").stderr


@pytest.mark.usefixtures("archived")
def test_nobody_to_ask_and_no_yes_is_a_usage_error(mailroom: Mailroom, conn: psycopg.Connection[Any]) -> None:
    assert "--yes" in mailroom(*UNDO, "2h", code=2).stderr
    assert conn.execute("SELECT count(*) FROM tasks").fetchone() == (0,)


@pytest.mark.parametrize(
    "options", [("--action", "none"), ("--all-inboxes",), ("--only-inbox", "inb_1"), ("--always",)]
)
def test_an_undo_changes_no_policy(mailroom: Mailroom, acme: str, options: tuple[str, ...]) -> None:
    assert "goes alone" in mailroom(*UNDO, "2h", *options, code=2).stderr
    assert mailroom.json("tenant", "show", acme)["dry_run"] is False


def test_without_anything_to_undo_nothing_matches(mailroom: Mailroom, acme: str) -> None:
    assert f"{acme} has no action since" in mailroom(*UNDO, "2h", "--yes", code=3).stderr


def test_it_is_told_what_came_of_everything_asked_for(
    mailroom: Mailroom, archived: list[int], conn: psycopg.Connection[Any]
) -> None:
    mailroom(*UNDO, "2h", "--yes")
    undone, skipped, failed = (event for event in archived[:3])
    conn.execute("UPDATE actions SET state = 'undone', undone_at = now() WHERE event_id = %s", (undone,))
    conn.execute("UPDATE tasks SET state = 'done' WHERE event_id = %s", (undone,))
    conn.execute("UPDATE tasks SET state = 'skipped' WHERE event_id = %s", (skipped,))
    insert(conn, "journal", event_id=skipped, what="undo skipped", detail="changed_by_somebody: reopen evt_9")
    conn.execute("UPDATE tasks SET state = 'failed', code = 'bug' WHERE event_id = %s", (failed,))
    conn.execute("UPDATE actions SET state = 'superseded' WHERE state = 'planned'")
    waiting = insert_action(conn, 5)
    conn.execute("UPDATE tasks SET created_at = now() - interval '1 h'")
    conn.execute("UPDATE actions SET undo_asked_at = now() - interval '1 h' WHERE undo_asked_at IS NOT NULL")
    conn.execute(
        "INSERT INTO tasks (tenant_id, event_id, kind, state, created_at)"
        " SELECT tenant_id, id, 'undo_action', 'ready', now() - interval '2 h' FROM events WHERE id = %s",
        (waiting,),
    )
    result = mailroom(*UNDO, "2h", "--yes", code=4)
    assert result.stdout.splitlines() == [
        "1 undone, 1 stopped before, 2 under way",
        "1 left as it is: changed_by_somebody",
        "1 failed: bug",
    ]
    words = mailroom.json("event", "show", "evt_1")
    assert words["action"]["state"] == "undone"
    assert [moment["what"] for moment in words["timeline"] if moment["what"].startswith("action ")] == [
        "action planned",
        "action intent",
        "action confirmed",
        "action undone",
    ]
