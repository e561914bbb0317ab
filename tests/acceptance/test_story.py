"""One message's whole way, checked with the command line and the small Front."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.harness.processes import wait_until
from tests.acceptance.conftest import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.stack import Stack

COMPANY, TENANT = "cmp_story", "Story Goods"
MEGABYTE = 2**20
RECIPIENTS = [
    {"handle": "sender@supplier.example", "role": "from"},
    {"handle": "Ines.Moreau@story.example", "role": "to"},
    {"handle": "stranger@elsewhere.example", "role": "cc"},
    {"handle": "tomasz@story.example", "role": "bcc"},
    {"handle": "answers@story.example", "role": "reply-to"},
]
PEOPLE = {"ines.moreau@story.example": "", "tomasz@story.example": "", "answers@story.example": "trash"}
FILES = [{"filename": "big.pdf", "size": 5 * MEGABYTE}, {"filename": "small.txt", "size": 300}]

EVENT_KEYS = {
    *("id", "company_id", "tenant", "type", "state", "cause", "conversation_id", "message_id"),
    *("deliveries", "recipients", "attachments", "action", "tasks", "timeline"),
}
STATUS_KEYS = {"intake", "events", "tasks", "rescued"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack with one tenant whose policy is to archive."""
    with running("--latency-ms", "20", MAX_ATTACHMENT_BYTES=str(6 * MEGABYTE)) as stack:
        stack.add_tenant(TENANT, COMPANY, action="archive", people=PEOPLE)
        yield stack


@pytest.fixture(scope="module")
def event(stack: Stack) -> dict[str, Any]:
    """The message after all its work is done."""
    report = stack.front.send("inbound_received", COMPANY, recipients=RECIPIENTS, attachments=FILES, expect="archived")
    stack.settle(within=60)
    document: dict[str, Any] = stack.json("event", "show", report["events"][0]["event_id"])
    return document


@pytest.fixture(scope="module")
def failed(stack: Stack) -> int:
    """The task of a file larger than MAX_ATTACHMENT_BYTES."""
    to = [{"handle": "ines.moreau@story.example", "role": "to"}]
    stack.front.send("inbound_received", COMPANY, recipients=to, attachments=[{"size": 7 * MEGABYTE}])
    assert wait_until(lambda: bool(failures(stack)), 60, every=1.0), stack.tail()
    return int(failures(stack)[0]["id"])


def failures(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.json("task", "list", "--state", "failed")
    return found


def task_state(stack: Stack, number: int) -> str:
    return str(stack.json("task", "show", str(number))["task"]["state"])


def test_a_done_event_has_all_its_parts(event: dict[str, Any]) -> None:
    print(f"story: {len(event['timeline'])} lines of timeline, {len(event['tasks'])} tasks")
    assert (event["state"], EVENT_KEYS - set(event)) == ("done", set())


def test_each_recipient_has_a_reason(event: dict[str, Any]) -> None:
    matched = {each["handle"].lower(): each["user"] is not None for each in event["recipients"] if each["reason"]}
    assert matched == {each["handle"].lower(): each["role"] in {"to", "bcc"} for each in RECIPIENTS}


def test_files_are_stored_byte_for_byte(stack: Stack, event: dict[str, Any]) -> None:
    sent = [stack.front.file(each["id"]) for each in event["attachments"]]
    told = [{name: each[name] for name in ("id", "size", "sha256")} for each in event["attachments"]]
    stored = [(stack.data / "files" / each["path"]).read_bytes() for each in event["attachments"]]
    on_disk = [{"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for content in stored]
    print(f"story: files of {[each['size'] for each in told]} bytes")
    assert told == sent
    assert on_disk == [{"size": each["size"], "sha256": each["sha256"]} for each in sent]


def test_the_conversation_is_archived(stack: Stack, event: dict[str, Any]) -> None:
    found = stack.front.conversation(event["conversation_id"])
    patches = [call for call in found["calls"] if call["method"] == "PATCH"]
    assert (found["status"], len(patches), event["action"]["state"]) == ("archived", 1, "confirmed")


def test_no_task_had_to_be_rescued(stack: Stack, event: dict[str, Any]) -> None:
    status = stack.json("status")
    assert set(status) >= STATUS_KEYS
    assert (status["rescued"], event["state"]) == (0, "done")
    assert set(status["intake"]) == {"depth", "oldest_age_seconds", "spooled"}


def test_the_door_answers_fronts_challenge(stack: Stack) -> None:
    answer = stack.front.challenge(COMPANY)
    assert (answer["status"], json.loads(answer["body"])) == (200, {"challenge": answer["challenge"]})


def test_a_second_start_on_the_folder_is_refused(stack: Stack) -> None:
    assert "already running" in stack.mailroom("up", code=1).stderr


def test_every_configuration_error_is_reported(stack: Stack) -> None:
    told = stack.mailroom("up", code=78, WORKER_THREADS="many", STORAGE_URL="", MAX_BODY_BYTES="1", TOKEN_KEYS="short")
    named = [name for name in ("WORKER_THREADS", "MAX_BODY_BYTES", "TOKEN_KEYS") if name in told.stdout + told.stderr]
    assert len(named) == 3


def test_a_failed_task_is_tried_again_and_then_given_up(stack: Stack, failed: int) -> None:
    shown = stack.json("task", "show", str(failed))
    assert (shown["task"]["code"], len(shown["attempts"])) == ("attachment_too_large", 1)

    stack.mailroom("task", "retry", str(failed), "--yes")
    assert wait_until(lambda: len(stack.json("task", "show", str(failed))["attempts"]) == 2, 30, every=1.0)
    assert wait_until(lambda: task_state(stack, failed) == "failed", 30)

    stack.mailroom("task", "discard", str(failed), "--yes", code=2)
    assert task_state(stack, failed) == "failed"
    stack.mailroom("task", "discard", str(failed), "--yes", "--reason", "a film, not mail")
    stack.settle(within=30)
    event = stack.json("event", "show", stack.json("task", "show", str(failed))["task"]["event"])
    assert (task_state(stack, failed), event["state"]) == ("discarded", "done")
    assert any("a film, not mail" in json.dumps(line) for line in event["timeline"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("task", "list"), 0),
        (("task", "retry"), 2),
        (("task", "show", "many"), 2),
        (("task", "show", "999999"), 3),
        (("task", "retry", "--code", "unheard_of", "--yes"), 3),
        (("event", "show", "evt_unheard_of"), 3),
    ],
)
def test_each_outcome_has_its_exit_code(stack: Stack, words: tuple[str, ...], code: int) -> None:
    stack.mailroom(*words, code=code)
