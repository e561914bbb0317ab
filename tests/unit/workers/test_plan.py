"""The plan for a message has matches, files and an action, or fetches the message first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.models import Attachment, Message, Plan, PlannedAction
from tests.unit.workers.people import EMITTED, IDA, NORA, NOW, OMAR, cc, tenant, to
from workers.policy import plan_message
from workers.recording.write import has_work

OWNERS = {
    "nora@acme.example": NORA,
    "nora.lind@acme.example": replace(NORA, position=2),
    "omar@acme.example": replace(OMAR, action="none"),
    "ida@acme.example": IDA,
}
FILE = Attachment(front_id="fil_1", filename="a.pdf", content_type="application/pdf", declared_size=3, is_inline=False)
TO_NORA = Message(id="msg_1", recipients=(to("nora@acme.example"),), attachments=())


def plan(
    message: Message, *, event_type: str = "inbound_received", conversation: str | None = "cnv_1", **policy: Any
) -> Plan:
    return plan_message(
        tenant(**policy),
        message,
        OWNERS,
        event_type=event_type,
        conversation_id=conversation,
        emitted_at=EMITTED,
        now=NOW,
    )


def test_a_message_for_a_user_is_archived() -> None:
    assert plan(TO_NORA).action == PlannedAction(
        kind="archive", wait_for="stored", state="planned", reason="the tenant's policy"
    )


@pytest.mark.parametrize(
    "recipients",
    [
        # One user in two roles, spellings or addresses
        (to("nora@acme.example"), cc("Nora@ACME.example")),
        (to("nora@acme.example"), cc("nora.lind@acme.example")),
    ],
)
def test_a_user_named_twice_has_one_wish(recipients: Any) -> None:
    found = plan(replace(TO_NORA, recipients=recipients))
    assert len(found.matches) == 2
    assert found.action is not None
    assert found.action.reason == "the tenant's policy"


def test_the_less_destructive_of_two_choices_wins() -> None:
    found = plan(replace(TO_NORA, recipients=(to("nora@acme.example"), cc("omar@acme.example"))))
    assert found.action == PlannedAction(
        kind="none",
        wait_for="stored",
        state="skipped",
        reason="no_action: the choice of user 18, the least destructive of 2 users' wishes",
    )


def test_an_inactive_user_counts_as_nobody() -> None:
    found = plan(replace(TO_NORA, recipients=(to("ida@acme.example"),)))
    assert found.action is not None
    assert found.action.reason == "nobody_matched: no recipient is a user of this tenant"


@pytest.mark.parametrize(
    "left_out",
    [{"recipients": None}, {"attachments": None}, {"recipients": None, "attachments": None, "id": None}],
    ids=["recipients", "files", "all"],
)
def test_a_message_with_omitted_parts_is_fetched_first(left_out: dict[str, None]) -> None:
    assert plan(replace(TO_NORA, **left_out)) == Plan(fetch=True)


def test_an_outbound_message_has_matches_and_files_but_no_action() -> None:
    found = plan(replace(TO_NORA, attachments=(FILE,)), event_type="outbound_sent")
    assert (len(found.matches), found.attachments, found.action) == (1, (FILE,), None)


def test_files_are_stored_also_without_a_match() -> None:
    assert plan(Message(id="msg_1", recipients=(), attachments=(FILE,))).attachments == (FILE,)


def test_without_a_conversation_the_action_is_skipped() -> None:
    assert plan(TO_NORA, conversation=None).action == PlannedAction(
        kind="archive", wait_for="stored", state="skipped", reason="no_conversation: the event names none"
    )


@pytest.mark.parametrize(
    ("found", "work"),
    [
        (Plan(fetch=True), True),
        (Plan(attachments=(FILE,)), True),
        (plan(TO_NORA), True),
        # A skipped action is no work
        (plan(TO_NORA, action="none"), False),
        (plan(TO_NORA, connected_at=None), False),
        (plan(TO_NORA, conversation=None), False),
        (Plan(), False),
    ],
)
def test_an_event_without_tasks_is_done_at_once(found: Plan, work: bool) -> None:
    assert has_work(found) is work
