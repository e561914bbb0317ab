"""Build the document of `event show --json`, with the event's timeline: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from console.run_again import possible_runs, version_of
from console.why_nothing import what_it_waits_for
from shared.db.reading.attempts import AttemptView
from shared.db.reading.events import ActionView, AttachmentView, EventDetails, RecipientView

Moment = dict[str, Any]


def event_document(event: EventDetails) -> dict[str, Any]:
    """Return everything known of the event, without any body."""
    header = event.header
    return {
        "id": header.id,
        "number": header.number,
        "company_id": header.company_id,
        "tenant": header.tenant,
        "type": header.type,
        "state": header.state,
        "cause": header.cause,
        "conversation_id": header.conversation_id,
        "message_id": header.message_id,
        "emitted_at": header.emitted_at,
        "deliveries": [{"id": d.id, "received_at": d.received_at, "origin": d.origin} for d in event.deliveries],
        "recipients": [_recipient(recipient) for recipient in event.recipients],
        "attachments": [
            {
                "id": a.id,
                "number": a.number,
                "filename": a.filename,
                "content_type": a.content_type,
                "state": a.state,
                "size": a.size,
                "sha256": a.sha256,
                "path": a.path,
            }
            for a in event.attachments
        ],
        "action": {"kind": event.action.kind, "state": event.action.state, "reason": event.action.reason}
        if event.action
        else None,
        "action_waits_for": what_it_waits_for(event),
        "tasks": [
            {"id": t.id, "kind": t.kind, "state": t.state, "code": t.code, "attempts": t.attempts} for t in event.tasks
        ],
        "timeline": timeline(event),
        "version": version_of(event),
        "possible_runs": [
            {"from": run.step, "file": run.file, "effects": list(run.effects), "why_not": run.why_not}
            for run in possible_runs(event)
        ],
    }


def _recipient(recipient: RecipientView) -> dict[str, Any]:
    user = {"id": recipient.user_id, "name": recipient.user_name} if recipient.user_id is not None else None
    return {"handle": recipient.handle, "role": recipient.role, "user": user, "reason": recipient.reason}


def timeline(event: EventDetails) -> list[Moment]:
    """Return the moments by time, each with `at`, `what` and its details; at the same time in the order of the work."""
    moments = [
        *_deliveries(event),
        _moment(event.header.recorded_at, "recorded", state=event.header.state if not event.tasks else None),
        *_matching(event),
        *_planning(event),
        *_attempts(event.attempts),
        *_stored_attachments(event.attachments),
        *_action(event.action),
        *_journal(event),
        *_parking(event),
    ]
    return sorted(moments, key=lambda moment: moment["at"])


def _moment(at: datetime, what: str, **details: Any) -> Moment:
    return {"at": at, "what": what, **{name: detail for name, detail in details.items() if detail is not None}}


def _deliveries(event: EventDetails) -> Iterator[Moment]:
    for delivery in event.deliveries:
        yield _moment(delivery.received_at, "received", delivery=delivery.id.hex, origin=delivery.origin)


def _planned_at(event: EventDetails) -> datetime:
    """Return when recipients and action became known: with the record, or when the message was fetched."""
    fetched = (a.ended_at for a in event.attempts if a.kind == "fetch_message" and a.outcome == "done" and a.ended_at)
    return min(fetched, default=event.header.recorded_at)


def _matching(event: EventDetails) -> Iterator[Moment]:
    if event.recipients:
        users = sorted({recipient.user_id for recipient in event.recipients if recipient.user_id})
        what = "matched" if users else "matched nobody"
        yield _moment(_planned_at(event), what, users=users or None, recipients=len(event.recipients))


def _planning(event: EventDetails) -> Iterator[Moment]:
    if event.action:
        skipped = event.action.state == "skipped" and event.action.settled_at is None  # by the policy, at once
        what = "action skipped" if skipped else "action planned"
        if event.action.dry_run:
            what += " as a dry run"
        why = event.action.reason if skipped or event.action.settled_at is None else None
        yield _moment(_planned_at(event), what, kind=event.action.kind, reason=why)


def _attempts(attempts: Iterable[AttemptView]) -> Iterator[Moment]:
    for attempt in attempts:
        yield _moment(
            attempt.started_at,
            "attempt",
            task=attempt.task_id,
            kind=attempt.kind,
            epoch=attempt.epoch,
            worker=attempt.worker,
            version=attempt.version or None,
            ended_at=attempt.ended_at,
            outcome=attempt.outcome or "never came back" if attempt.ended_at else "running or lost",
            code=attempt.code,
            detail=attempt.detail,
            calls=attempt.calls,
        )


def _stored_attachments(attachments: Iterable[AttachmentView]) -> Iterator[Moment]:
    for file in attachments:
        if file.stored_at:
            details = {"attachment": file.id, "filename": file.filename, "size": file.size}
            yield _moment(file.stored_at, "attachment stored", **details)


def _action(action: ActionView | None) -> Iterator[Moment]:
    if action and action.intent_at:
        yield _moment(action.intent_at, "action intent", kind=action.kind)
    if action and action.settled_at and not action.undone_at:
        yield _moment(action.settled_at, f"action {action.state}", kind=action.kind, reason=action.reason)
    if action and action.settled_at and action.undone_at:
        yield _moment(action.settled_at, "action confirmed", kind=action.kind)
        yield _moment(action.undone_at, "action undone", kind=action.kind, reason=action.reason)


def _journal(event: EventDetails) -> Iterator[Moment]:
    for entry in event.journal:
        yield _moment(entry.at, entry.what, who=entry.who, detail=entry.detail or None)


def _parking(event: EventDetails) -> Iterator[Moment]:
    header = event.header
    if header.state == "parked":
        since = header.recorded_at if header.tenant is None else header.parked_at
        yield _moment(max(since or header.recorded_at, header.recorded_at), "parked", cause=header.cause)
