"""Look at the body of an event, copy it for developers, and run an event again from a step."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.body_copies import curl_command, sandbox_order
from console.operations.audited import Change, carry_out
from console.run_again import find_run, possible_runs, version_of
from shared.db.reading import events
from shared.db.tasks import reruns, settling
from shared.errors import BodyGone, MailroomError, MalformedEnvelope

if TYPE_CHECKING:
    from console.access.actor import Actor
    from console.operations.audited import Run
    from console.run_again import PossibleRun, Step
    from shared.db.core.pool import Connection
    from shared.db.reading.events import EventDetails
    from shared.settings import Settings


class UnknownEvent(MailroomError):
    """There is no such event, or this token does not see it."""

    code = "unknown_event"


class NoFixture(MailroomError):
    """The body cannot be read, so that nothing like it can be sent by the sandbox."""

    code = "no_fixture"


class CannotRunAgain(MailroomError):
    """Something is in the way of a run from this step; `possible_changes` says from which steps it can run now."""

    code = "cannot_run_again"

    def __init__(self, message: str, event: EventDetails):
        super().__init__(message)
        self.possible_changes = possible_runs(event)


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """From which step to run an event again. `file` is Front's id of the only file that is meant.

    `version` is that of the event as it was shown; None takes the event as it is.
    """

    step: Step
    file: str | None = None
    version: str | None = None


def reveal_body(run: Run, actor: Actor, number: int) -> bytes:
    """Return the body of the event as Front sent it. Raises NotAllowed, UnknownEvent, BodyGone."""
    return _reveal(run, actor, number, "body")[1]


def copy_as_curl(run: Run, actor: Actor, number: int, settings: Settings) -> str:
    """Return a command that sends the event's body to the door again, signed now with the newest key.

    Raises NotAllowed, UnknownEvent, BodyGone, and ConfigurationError without a signing key.
    """
    key = settings.require("front_signing_keys").signing_keys[0]
    _, body = _reveal(run, actor, number, "curl")
    url = f"http://127.0.0.1:{settings.port}/webhooks/front"
    return curl_command(body, url=url, key=key, milliseconds=round(time.time() * 1000))


def copy_as_fixture(run: Run, actor: Actor, number: int) -> dict[str, Any]:
    """Return an order for the sandbox that sends an event like this one, with example addresses.

    Raises NotAllowed, UnknownEvent, BodyGone, and NoFixture for a body that cannot be read.
    """
    event, body = _reveal(run, actor, number, "fixture")
    try:
        return sandbox_order(body, event)
    except MalformedEnvelope as problem:
        raise NoFixture(f"event {number} makes no fixture: {problem}") from None


def run_again(run: Run, actor: Actor, number: int, order: RunOrder) -> PossibleRun:
    """Run an event again from a step on, and return what happens now. A change that Front has is never sent again.

    Raises NotAllowed, UnknownEvent, CannotRunAgain.
    """
    unknown = _unknown(number)
    tenant_id = _event(run, number).header.tenant_id
    change = Change(verb="run_again", target=f"event {number}", tenant_id=tenant_id)

    def work(conn: Connection) -> PossibleRun:
        reruns.lock_event(conn, number)
        event = events.event_details(conn, number)
        if event is None:
            raise unknown
        chosen = _chosen(event, order)
        change.before = {"state": event.header.state}
        change.after = {"from": chosen.verb}
        _start(conn, event, chosen)
        settling.update_event_state(conn, number)
        settling.add_journal_entry(conn, number, "run_again", who=actor.name, detail=f"from {chosen.verb}")
        return chosen

    return carry_out(run, actor, change, work, unseen=unknown)


def _chosen(event: EventDetails, order: RunOrder) -> PossibleRun:
    """Return the run that is ordered. Raises CannotRunAgain."""
    number = event.header.number
    if order.version is not None and order.version != version_of(event):
        raise CannotRunAgain(f"event {number} has changed meanwhile: look at it again", event)
    chosen = find_run(event, order.step, order.file)
    if chosen is None:
        raise CannotRunAgain(f"event {number} has no file {order.file}", event)
    if chosen.why_not:
        raise CannotRunAgain(f"event {number} cannot run again from {chosen.verb}: {chosen.why_not}", event)
    return chosen


def _start(conn: Connection, event: EventDetails, chosen: PossibleRun) -> None:
    number = event.header.number
    if chosen.step == "record":
        reruns.record_again(conn, number)
    elif chosen.step == "apply_action":
        reruns.rerun_action(conn, number, waits=False)
    else:
        reruns.rerun_tasks(conn, number, chosen.step, file=chosen.file)
        if chosen.step == "store_attachment":
            reruns.rerun_action(conn, number, waits=True)


def _reveal(run: Run, actor: Actor, number: int, what: str) -> tuple[EventDetails, bytes]:
    unknown = _unknown(number)
    event = _event(run, number)
    change = Change(verb="reveal", target=f"event {number}", tenant_id=event.header.tenant_id, after={"shown": what})
    body = carry_out(run, actor, change, lambda conn: events.first_body(conn, number), unseen=unknown)
    if body is None:
        raise BodyGone("the body is no longer stored")
    return event, zlib.decompress(body)


def _event(run: Run, number: int) -> EventDetails:
    event = run(lambda conn: events.event_details(conn, number))
    if event is None:
        raise _unknown(number)
    return event


def _unknown(number: int) -> UnknownEvent:
    return UnknownEvent(f"there is no event {number}")
