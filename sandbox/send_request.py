"""The body of `POST /sandbox/send`, checked field by field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sandbox.faults import DOWNLOAD_KINDS, REFRESH_KINDS
from sandbox.http_messages import BadRequest, read_fields
from sandbox.models import EVENT_TYPES, Recipient

FORGED = frozenset(
    {"bad_signature", "no_signature", "not_json", "unknown_type", "unknown_company", "sync_without_challenge"}
)
OWN_FAULTS = FORGED | {
    "stale",
    "future",
    "seconds_timestamp",
    "duplicate",
    "too_large",
    "no_recipients",
    "no_attachments",
    "no_target",
    "preview",
    "preview_event",
    "preview_source",
    "preview_target",
    "preview_conversation",
    "preview_links_only",
    "emitted_at_text",
    "emitted_at_iso",
    "emitted_at_unreadable",
    "no_emitted_at",
    "underscore_host",
    "attachment_elsewhere",
    "hostile_filename",
}
WEBHOOK_FAULTS = OWN_FAULTS | DOWNLOAD_KINDS | REFRESH_KINDS
ROLES = ("from", "to", "cc", "bcc", "reply-to")
EXPECT = re.compile(r"archived|deleted|none|tag:tag_[0-9a-z]+")


@dataclass(frozen=True, kw_only=True)
class SendRequest:
    """A request to let `count` events happen and to send their webhooks.

    `rate` is in events per second. `duplicates` is the number of extra copies of each webhook: 0.1 doubles every
    tenth. `dropped` is the share of webhooks that are never sent; without `deliver` none is sent.

    `inbox` is the inbox of new conversations, by default the company's first; a private inbox sends no webhooks.
    `conversation`, `message`, `event` and the `id` of an attachment set ids, so that two companies can share them.

    `fault` spoils the webhooks; a kind of `DOWNLOAD_KINDS` spoils the downloads of their files instead. A kind of
    `REFRESH_KINDS` expires the company's access tokens, and refuses its refreshes until the faults are cleared.

    `merges` are the conversations that an event `conversations_merged` merges, by default a new one.

    `expect` is the effect that each event should have: a status, `tag:<id>` or none. `wait` makes the request last
    until everything is delivered.
    """

    type: str
    company: str
    count: int = 1
    rate: float | None = None
    threads: int = 4
    recipients: tuple[Recipient, ...] | None = None
    attachments: tuple[dict[str, Any], ...] = ()
    attachment_count: int = 0
    conversation: str | None = None
    message: str | None = None
    event: str | None = None
    subject: str | None = None
    text_size: int | None = None
    emitted_at: float | None = None
    duplicates: float = 0.0
    shuffle: bool = False
    fault: str | None = None
    expect: str | None = None
    wait: bool = True
    deliver: bool = True
    dropped: float = 0.0
    inbox: str | None = None
    merges: tuple[str, ...] = ()

    @property
    def is_forged(self) -> bool:
        """Tell whether Front itself would never send this webhook."""
        return self.fault in FORGED


def read_send_request(body: Any) -> SendRequest:
    """Check a request, or raise BadRequest."""
    given = read_fields(body, SendRequest)
    if "recipients" in given:
        given["recipients"] = tuple(_recipient(each) for each in given["recipients"])
    given["attachments"] = tuple(given.get("attachments", ()))
    given["merges"] = tuple(given.get("merges", ()))
    try:
        request = SendRequest(**given)
    except TypeError as exc:
        raise BadRequest("a request to send needs at least a type and a company") from exc
    _check(request)
    return request


def _recipient(body: Any) -> Recipient:
    if not isinstance(body, dict) or not isinstance(body.get("handle"), str):
        raise BadRequest("a recipient is {handle, role, name?}")
    role = body.get("role", "to")
    if role not in ROLES:
        raise BadRequest(f"no such role: {role}")
    return Recipient(handle=body["handle"], role=role, name=body.get("name"))


def _check(request: SendRequest) -> None:
    if request.type not in EVENT_TYPES and request.type != "mixed":
        raise BadRequest(f"no such type: {request.type}; there are mixed, {', '.join(EVENT_TYPES)}")
    if request.fault and request.fault not in WEBHOOK_FAULTS:
        raise BadRequest(f"no such fault: {request.fault}; there are {', '.join(sorted(WEBHOOK_FAULTS))}")
    _check_parts(request)
    if request.expect and not EXPECT.fullmatch(request.expect):
        raise BadRequest("expect is archived, deleted, tag:<id> or none")
    if request.expect not in {None, "none"} and request.is_forged:
        raise BadRequest(f"a webhook with the fault {request.fault} must have no effect: leave expect out")
    if not 0 <= request.dropped <= 1:
        raise BadRequest("dropped is a share, from 0 to 1")
    if request.count < 0 or request.threads < 1:
        raise BadRequest("count is at least 0, threads at least 1")


def _check_parts(request: SendRequest) -> None:
    if not all(isinstance(each, dict) for each in request.attachments):
        raise BadRequest("an attachment is {filename?, content_type?, size?, is_inline?, id?, url?, fault?}")
    if not all(isinstance(each, str) for each in request.merges):
        raise BadRequest("merges is a list of conversation ids")
    if unknown := {each.get("fault") for each in request.attachments} - DOWNLOAD_KINDS - {None}:
        raise BadRequest(f"no such fault of a file: {unknown.pop()}; there are {', '.join(sorted(DOWNLOAD_KINDS))}")
    if request.conversation in request.merges:
        raise BadRequest("a conversation cannot be merged into itself")
