"""The event as scripts read it: pure. The keys are a contract."""

from __future__ import annotations

from typing import Any

from console.cli.timeline import timeline
from shared.db.reading.event import RecipientRow, WholeEvent


def event_document(event: WholeEvent) -> dict[str, Any]:
    """Everything known of the event, without any body."""
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
            {"id": a.id, "filename": a.filename, "state": a.state, "size": a.size, "sha256": a.sha256, "path": a.path}
            for a in event.attachments
        ],
        "action": {"kind": event.action.kind, "state": event.action.state, "reason": event.action.reason}
        if event.action
        else None,
        "tasks": [
            {"id": t.id, "kind": t.kind, "state": t.state, "code": t.code, "attempts": t.attempts} for t in event.tasks
        ],
        "timeline": timeline(event),
    }


def _recipient(recipient: RecipientRow) -> dict[str, Any]:
    user = {"id": recipient.user_id, "name": recipient.user_name} if recipient.user_id is not None else None
    return {"handle": recipient.handle, "role": recipient.role, "user": user, "reason": recipient.reason}
