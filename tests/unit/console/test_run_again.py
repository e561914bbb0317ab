"""The rows of an event alone decide which runs are possible, and their effects."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from console.run_again import STEPS, find_run, possible_runs, version_of
from shared.db.reading.events import ActionView, AttachmentView, DeliveryView, TaskView
from tests.unit.console.test_why_nothing import action, event

if TYPE_CHECKING:
    from shared.db.reading.events import EventDetails

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
DELIVERY = DeliveryView(id=UUID(int=1), received_at=NOW, origin="webhook", has_body=True)


def task(number: int, kind: str, state: str = "done") -> TaskView:
    return TaskView(id=number, kind=kind, state=state, code=None, detail=None, attempts=1)


def file(number: int, state: str = "stored") -> AttachmentView:
    return AttachmentView(
        id=f"fil_{number}", number=number, filename=f"{number}.pdf", content_type="x", state=state, size=1, sha256="a",
        path="p", stored_at=NOW, task_id=number,
    )  # fmt: skip


def mail(
    applied: ActionView | None, *tasks: TaskView, files: tuple[AttachmentView, ...] = (), body: bool = True
) -> EventDetails:
    """Make an inbound mail with these parts."""
    return replace(event(applied, tasks), attachments=list(files), deliveries=[replace(DELIVERY, has_body=body)])


CONFIRMED = mail(action("confirmed", "applied"), task(1, "apply_action"))
UNCLEAR = replace(action("failed", "unclear_answer"), intent_at=NOW)


def why_not(details: EventDetails, step: str) -> str | None:
    run = find_run(details, step, None)  # type: ignore[arg-type]
    assert run
    return run.why_not


def effects(details: EventDetails, step: str, name: str | None = None) -> str:
    run = find_run(details, step, name)  # type: ignore[arg-type]
    assert run
    assert run.why_not is None
    return " ".join(run.effects)


def test_the_steps_are_in_the_order_of_the_work() -> None:
    assert [run.step for run in possible_runs(CONFIRMED)] == list(STEPS)
    two = replace(CONFIRMED, attachments=[file(1), file(2)])
    assert [run.verb for run in possible_runs(two)][2:5] == [
        "store_attachment",
        "store_attachment fil_1",
        "store_attachment fil_2",
    ]


def test_a_confirmed_action_is_not_sent_again_from_any_step() -> None:
    assert "never sent twice" in str(why_not(CONFIRMED, "apply_action"))
    assert "not sent again" in effects(CONFIRMED, "record")
    stored = replace(CONFIRMED, attachments=[file(1)])
    assert "not sent again" in effects(stored, "store_attachment")


@pytest.mark.parametrize("state", ["failed", "superseded", "discarded", "skipped"])
def test_an_action_that_front_does_not_have_is_decided_again(state: str) -> None:
    details = mail(action(state, "a reason"), task(1, "apply_action", state))
    assert f"(archive, {state}) is decided and sent again" in effects(details, "apply_action")
    assert f"instead of archive ({state})" in effects(details, "record")


@pytest.mark.parametrize("step", ["record", "apply_action"])
def test_an_unclear_action_is_looked_up_at_front_first(step: str) -> None:
    assert "the conversation is read first" in effects(mail(UNCLEAR, task(1, "apply_action", "failed")), step)


def test_an_action_whose_undo_was_asked_for_stays() -> None:
    asked = replace(action("failed", "x"), undo_asked_at=NOW)
    details = mail(asked, task(1, "apply_action", "failed"))
    assert "undo" in str(why_not(details, "apply_action"))
    assert "stays as it is" in effects(details, "record")


def test_an_action_that_the_policy_left_out_is_planned_by_a_run_from_record() -> None:
    details = mail(action("skipped", "nobody_matched: no recipient is a user"))
    assert "nobody_matched" in str(why_not(details, "apply_action"))
    assert "planned anew" in effects(details, "record")


def test_stored_files_keep_their_copy_until_there_is_a_new_one() -> None:
    files = (file(1), file(2, "failed"))
    details = mail(None, task(1, "store_attachment"), task(2, "store_attachment", "failed"), files=files)
    assert effects(details, "store_attachment") == (
        "1 file is downloaded again; the stored copy stays until there is a new one. 1 file is not stored, and tried "
        "again. No action was planned, and none is added."
    )
    assert "tried again" not in effects(details, "store_attachment", "fil_1")
    assert find_run(details, "store_attachment", "fil_9") is None


@pytest.mark.parametrize("running", ["record", "store_attachment", "apply_action"])
def test_a_step_waits_for_a_running_task_that_it_would_begin_again(running: str) -> None:
    details = mail(action("planned", ""), task(7, running, "running"), files=(replace(file(7), state="waiting"),))
    blocked = STEPS[: STEPS.index(running) + 1]  # type: ignore[arg-type]
    reasons = {run.step: run.why_not or "" for run in possible_runs(details)}
    assert {step for step, reason in reasons.items() if "task 7" in reason} == set(blocked) - {"fetch_message"}


def test_another_file_does_not_wait_for_one_that_runs() -> None:
    files = (replace(file(7), state="waiting"), file(8, "failed"))
    tasks = (task(7, "store_attachment", "running"), task(8, "store_attachment", "failed"))
    details = mail(None, *tasks, files=files)
    reasons = {run.file: run.why_not for run in possible_runs(details) if run.step == "store_attachment"}
    assert reasons["fil_8"] is None
    assert "task 7" in str(reasons["fil_7"])
    assert "task 7" in str(reasons[None])


def test_what_is_missing_is_said() -> None:
    assert "no longer stored" in str(why_not(mail(None, body=False), "record"))
    assert "no file" in str(why_not(mail(None), "store_attachment"))
    assert "nothing was fetched" in str(why_not(mail(None), "fetch_message"))
    assert "no action" in str(why_not(mail(None), "apply_action"))
    assert "no message" in str(why_not(event(type="tag_added"), "record"))
    unknown = event(state="parked", tenant_id=None)
    nobody = "no tenant has its company, so there is nobody to work for"
    assert {run.why_not for run in possible_runs(unknown)} == {nobody}


def test_an_outbound_message_has_no_action_to_speak_of() -> None:
    details = replace(mail(None, files=(file(1),)), header=replace(event().header, type="outbound_sent"))
    assert "action" not in effects(details, "record")


def test_the_version_changes_with_whatever_decides() -> None:
    changed = [
        mail(action("failed", "x"), task(1, "apply_action")),
        mail(action("confirmed", "applied"), task(1, "apply_action", "failed")),
        mail(action("confirmed", "applied"), task(1, "apply_action"), files=(file(1),)),
    ]
    assert len({version_of(each) for each in (CONFIRMED, *changed)}) == 4
    assert version_of(CONFIRMED) == version_of(replace(CONFIRMED))
