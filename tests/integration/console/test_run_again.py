"""Commands and the API run events again, change actions, and copy bodies: beside the database, and from elsewhere."""

from __future__ import annotations

import json
import subprocess
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.front.signature import verify
from tests.integration.console.rows import insert, insert_event, insert_task

if TYPE_CHECKING:
    import psycopg

    from sandbox.server import RunningSandbox
    from tests.integration.console.conftest import Mailroom

PAYLOAD = Path(__file__).parents[2] / "payloads" / "inbound_received.json"


@pytest.fixture
def failed(acme: str, conn: psycopg.Connection) -> int:
    """Insert a mail whose archive failed, and return the number of the task."""
    event = insert_event(conn, state="failed")
    conn.execute("UPDATE deliveries SET body = %s", (zlib.compress(PAYLOAD.read_bytes()),))
    insert(
        conn, "actions", event_id=event, tenant_id=1, conversation_id="cnv_1", kind="archive", wait_for="stored",
        state="failed", reason="front_rejected", emitted_at="now", settled_at="now",
    )  # fmt: skip
    task = insert_task(conn, event, code="front_rejected")
    insert(
        conn, "attempts", task_id=task, epoch=1, worker="worker@a:1", outcome="failed", version="0.9.1", ended_at="now"
    )
    return task


@pytest.fixture
def command(command: Mailroom, failed: int) -> Mailroom:
    """The command, here and elsewhere, once the archive has failed."""
    return command


def test_an_action_is_edited_after_its_difference_was_shown(
    command: Mailroom, failed: int, conn: psycopg.Connection
) -> None:
    asked = command("task", "edit", failed, "--action", "trash", code=2)
    assert "- archive\n  + trash\n" in asked.stderr
    assert "add --yes" in asked.stderr
    command("task", "edit", failed, "--action", "trash", "--dry-run")
    assert "mark_read" in command("task", "edit", failed, "--action", "mark_read", "--yes", code=1).stderr
    assert conn.execute("SELECT kind, state FROM actions").fetchall() == [("archive", "failed")]
    command("task", "edit", failed, "--action", "trash", "--yes")
    assert conn.execute("SELECT kind, state FROM actions").fetchall() == [("trash", "planned")]
    assert conn.execute("SELECT state, attempts FROM tasks").fetchall() == [("ready", 0)]
    assert conn.execute("SELECT verb, before, after FROM audit WHERE verb = 'edit_action'").fetchall() == [
        ("edit_action", {"action": "archive", "state": "failed"}, {"action": "trash"})
    ]
    assert "is trash already" in command("task", "edit", failed, "--action", "trash", "--yes", code=1).stderr


def test_an_action_that_front_has_is_not_edited(command: Mailroom, failed: int, conn: psycopg.Connection) -> None:
    conn.execute("UPDATE actions SET state = 'confirmed'")
    said = command("task", "edit", failed, "--action", "trash", "--yes", code=1).stderr
    assert "Front has the change" in said
    assert "no task 99" in command("task", "edit", 99, "--action", "trash", "--yes", code=3).stderr


def test_an_event_runs_again_after_it_was_said_what_happens(command: Mailroom, conn: psycopg.Connection) -> None:
    said = command("event", "run-again", "evt_1", "--from", "record", code=2).stderr
    assert "matched with today's users" in said
    assert "planned anew by today's policy, instead of archive (failed)" in said
    assert conn.execute("SELECT count(*)::int FROM tasks").fetchone() == (1,)
    command("event", "run-again", "evt_1", "--from", "record", "--yes")
    assert conn.execute("SELECT kind, state FROM tasks ORDER BY id").fetchall() == [
        ("apply_action", "failed"),
        ("record", "ready"),
    ]
    command("event", "run-again", "evt_1", "--from", "apply_action", "--yes")
    assert conn.execute("SELECT state FROM actions").fetchone() == ("planned",)
    audit = conn.execute("SELECT target, after FROM audit WHERE verb = 'run_again' ORDER BY id").fetchall()
    assert audit == [("event 1", {"from": "record"}), ("event 1", {"from": "apply_action"})]


def test_what_is_in_the_way_of_a_run_is_said(command: Mailroom, conn: psycopg.Connection) -> None:
    said = command("event", "run-again", "evt_1", "--from", "fetch_message", "--yes", code=1).stderr
    assert "nothing was fetched" in said
    insert(
        conn, "attachments", tenant_id=1, event_id=1, conversation_id="cnv_1", front_id="fil_1", filename="a.pdf",
        content_type="application/pdf",
    )  # fmt: skip
    wrong = ("--from", "store_attachment", "--file", "fil_9", "--yes")
    assert "no file fil_9" in command("event", "run-again", "evt_1", *wrong, code=3).stderr
    command("event", "run-again", "evt_1", "--from", "nonsense", code=2)
    command("event", "run-again", "evt_none", "--from", "record", code=3)


def test_the_copy_for_curl_has_the_stored_body_and_a_signature_of_now(
    command: Mailroom, tmp_path: Path, conn: psycopg.Connection
) -> None:
    printed = command("event", "show", "evt_1", "--curl").stdout
    fake = tmp_path / "bin" / "curl"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\nfor each; do printf "%s\\0" "$each"; done\ncase "$*" in *@-*) cat;; esac\n', encoding="utf-8"
    )
    fake.chmod(0o755)
    path = {"PATH": f"{fake.parent}:/usr/bin:/bin"}
    output = subprocess.run(["sh"], input=printed.encode(), env=path, stdout=subprocess.PIPE, check=True).stdout
    *arguments, rest = output.split(b"\0")
    headers = dict(each.decode().split(": ", 1) for each in arguments if each.startswith(b"X-"))
    body = rest or arguments[arguments.index(b"--data-raw") + 1]
    assert body == PAYLOAD.read_bytes()
    verify(
        body,
        timestamp=headers["X-Front-Request-Timestamp"],
        signature=headers["X-Front-Signature"],
        keys=[b"a-signing-key"],
    )
    assert "a-signing-key" not in printed
    assert conn.execute("SELECT verb, target, after FROM audit WHERE verb = 'reveal'").fetchall() == [
        ("reveal", "event 1", {"shown": "curl"})
    ]


def test_the_sandbox_sends_a_fixture(
    mailroom: Mailroom, failed: int, front: RunningSandbox, tmp_path: Path, conn: psycopg.Connection
) -> None:
    front.front.ensure_company("cmp_acme", "Acme", None)
    fixture = tmp_path / "event.json"
    fixture.write_text(mailroom("event", "show", "evt_1", "--fixture").stdout, encoding="utf-8")
    order = json.loads(fixture.read_text(encoding="utf-8"))
    assert order["type"] == "inbound_received"
    sent = mailroom.json("sandbox", "send", "--body", fixture, code=4)["events"]  # no door listens
    assert len(sent) == 1
    mailroom("sandbox", "send", code=2)
    fixture.write_text("[]", encoding="utf-8")
    assert "one JSON object" in mailroom("sandbox", "send", "--body", fixture, code=2).stderr
    assert conn.execute("SELECT after FROM audit WHERE verb = 'reveal'").fetchall() == [({"shown": "fixture"},)]


def test_a_body_that_is_gone_or_unreadable_has_no_copy(command: Mailroom, conn: psycopg.Connection) -> None:
    conn.execute("UPDATE deliveries SET body = %s", (zlib.compress(b"not JSON"),))
    assert "makes no fixture" in command("event", "show", "evt_1", "--fixture", code=1).stderr
    assert command("event", "show", "evt_1", "--raw").stdout_bytes == b"not JSON"
    conn.execute("UPDATE deliveries SET body = NULL")
    for form in ("--raw", "--curl", "--fixture"):
        assert "no longer stored" in command("event", "show", "evt_1", form, code=3).stderr


def test_a_task_is_shown_with_its_action_its_version_and_its_log_lines(command: Mailroom, failed: int) -> None:
    printed = command("task", "show", failed).stdout
    assert "archive: failed, front_rejected" in printed
    assert "version 0.9.1" in printed
    assert "grep 00000000000000000000000000000001" in printed


def test_the_newest_attempt_is_shown_first(mailroom: Mailroom, failed: int, conn: psycopg.Connection) -> None:
    insert(conn, "attempts", task_id=failed, epoch=2, worker="worker@b:2", started_at="2030-01-01", ended_at="now")
    printed = mailroom("task", "show", failed).stdout
    assert printed.index("worker@b:2") < printed.index("worker@a:1")


def document(command: Mailroom) -> dict[str, Any]:
    found: dict[str, Any] = command.json("event", "show", "evt_1")
    return found


def test_an_event_says_what_its_action_waits_for(command: Mailroom, conn: psycopg.Connection) -> None:
    conn.execute("UPDATE actions SET state = 'planned'")
    conn.execute("UPDATE tasks SET state = 'ready', code = NULL, due_at = 'infinity'")
    assert document(command)["action_waits_for"] == []
    other = insert_event(conn, front_id="evt_2")
    [file] = conn.execute(
        "INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type, state)"
        " VALUES (1, %s, 'cnv_1', 'fil_1', 'a.pdf', 'x', 'failed') RETURNING id",
        (other,),
    ).fetchone() or (0,)
    task = insert_task(conn, other, kind="store_attachment", attachment_id=file)
    said = f"It waits for the file a.pdf: task {task} failed; retry or discard it."
    assert document(command)["action_waits_for"] == [said]
    assert said in " ".join(command("event", "show", "evt_1").stdout.split())
    conn.execute("UPDATE actions SET wait_for = 'settled'")
    assert document(command)["action_waits_for"] == []
