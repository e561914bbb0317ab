"""Decide from which steps an event can be run again, and say what happens then: pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shared.front.envelope import INBOUND, MESSAGE_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.db.reading.events import ActionView, AttachmentView, EventDetails

Step = Literal["record", "fetch_message", "store_attachment", "apply_action"]
#: The steps in the order of the work; their names are those of the kinds of tasks.
STEPS: Final[tuple[Step, ...]] = ("record", "fetch_message", "store_attachment", "apply_action")
#: An action that Front has: it is never sent again.
SENT: Final = frozenset({"confirmed", "undone"})


@dataclass(frozen=True, kw_only=True)
class PossibleRun:
    """A step to run an event again from, with what happens then, or with what is in its way.

    `file` is Front's id of the only file that is meant; None means all files of the message.
    """

    step: Step
    file: str | None
    filename: str | None
    effects: tuple[str, ...]
    why_not: str | None

    @property
    def verb(self) -> str:
        """Return the step, and its file if it is for one."""
        return f"{self.step} {self.file}" if self.file else self.step


def possible_runs(event: EventDetails) -> list[PossibleRun]:
    """Return each step of the event, in the order of the work. A message with several files has one for all of them."""
    files: list[AttachmentView | None] = list(event.attachments)
    if len(files) != 1:
        files.insert(0, None)
    steps: list[tuple[Step, AttachmentView | None]] = [
        ("record", None),
        ("fetch_message", None),
        *(("store_attachment", file) for file in files),
        ("apply_action", None),
    ]  # fmt: skip
    return [_run(event, step, file) for step, file in steps]


def find_run(event: EventDetails, step: Step, file: str | None) -> PossibleRun | None:
    """Return the run from this step, of this file or of all; None when the event has no such file."""
    runs = [each for each in possible_runs(event) if each.step == step]
    return next((each for each in runs if file in {None, each.file}), None)


def version_of(event: EventDetails) -> str:
    """Return a word that changes with everything on which `possible_runs` depends."""
    action = (event.action.kind, event.action.state) if event.action else None
    tasks = [task for task in event.tasks if task.kind in STEPS]
    seen = [action, *((task.id, task.kind, task.state, task.attempts) for task in tasks)]
    seen += [(file.id, file.state) for file in event.attachments]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def _run(event: EventDetails, step: Step, file: AttachmentView | None) -> PossibleRun:
    why_not = _why_not(event, step) or _why_not_now(event, step, file)
    return PossibleRun(
        step=step,
        file=file.id if file else None,
        filename=file.filename if file else None,
        effects=() if why_not else tuple(_effects(event, step, file)),
        why_not=why_not,
    )


def _why_not(event: EventDetails, step: Step) -> str | None:
    """Return what is in the way of a step for good, or until somebody changes something."""
    if event.header.tenant_id is None:
        return "no tenant has its company, so there is nobody to work for"
    if step == "record":
        return _why_not_recorded(event)
    if step == "fetch_message" and not any(task.kind == "fetch_message" for task in event.tasks):
        return "the webhook held the whole message, so nothing was fetched"
    if step == "store_attachment" and not event.attachments:
        return "the message has no file"
    return _why_not_applied(event) if step == "apply_action" else None


def _why_not_recorded(event: EventDetails) -> str | None:
    if event.header.type not in MESSAGE_TYPES:
        return "events of this type have no message to match"
    if not any(delivery.has_body for delivery in event.deliveries):
        return "its body is no longer stored"
    return None


def _why_not_applied(event: EventDetails) -> str | None:
    action = event.action
    if action is None:
        return "no action was planned for it"
    if action.state in SENT:
        return f"the action is {action.state}, and is never sent twice"
    if action.undo_asked_at:
        return "somebody asked for the undo of the action"
    if not any(task.kind == "apply_action" for task in event.tasks):
        return f"the policy planned none ({action.reason.partition(':')[0]}); a run from record plans it anew"
    return None


def _why_not_now(event: EventDetails, step: Step, file: AttachmentView | None) -> str | None:
    """Return which running task is in the way: one that the run would begin again."""
    kinds = STEPS[STEPS.index(step) :]
    for task in event.tasks:
        is_other_file = file is not None and task.kind == "store_attachment" and task.id != file.task_id
        if task.state == "running" and task.kind in kinds and not is_other_file:
            return f"task {task.id} ({task.kind}) runs right now; wait until it ends"
    return None


def _effects(event: EventDetails, step: Step, file: AttachmentView | None) -> Iterator[str]:
    if step == "record":
        yield "The stored body is read again, and its recipients are matched with today's users."
    if step in {"record", "fetch_message"} and any(task.kind == "fetch_message" for task in event.tasks):
        yield "The message is fetched from Front again."
    if step != "apply_action":
        yield from _effects_on_files([file] if file else event.attachments)
    if event.header.type == INBOUND:
        yield _effect_on_action(event.action, step)


def _effects_on_files(files: list[AttachmentView]) -> Iterator[str]:
    stored = sum(file.state == "stored" for file in files)
    if stored:
        yield f"{_files(stored)} downloaded again; the stored copy stays until there is a new one."
    if left := len(files) - stored:
        yield f"{_files(left)} not stored, and tried again."


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"


def _effect_on_action(action: ActionView | None, step: Step) -> str:
    if action and action.state in SENT:
        return f"The action ({action.kind}) is {action.state}: it is not sent again."
    if action and action.undo_asked_at:
        return "Somebody asked for the undo of the action: it stays as it is."
    if action and (action.state == "intent" or action.intent_at):
        return (
            f"Nobody knows whether Front has the action ({action.kind}): the conversation is read first, and the "
            "change is sent only if it is missing."
        )
    if step in {"record", "fetch_message"}:
        instead = f", instead of {action.kind} ({action.state})" if action else ""
        return f"The action is planned anew by today's policy{instead}."
    if action is None:
        return "No action was planned, and none is added."
    after = " once the files are stored" if step == "store_attachment" else ""
    return (
        f"The action ({action.kind}, {action.state}) is decided and sent again{after}, unless something overruled it."
    )
