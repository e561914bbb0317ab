"""What somebody asks the sandbox to send, checked word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.http_messages import BadRequest, read_fields
from sandbox.models import EVENT_TYPES, Attachment, Recipient

if TYPE_CHECKING:
    from sandbox.models import IdSequence

FORGED = frozenset({"bad_signature", "no_signature", "not_json", "unknown_type", "unknown_company"})
FAULTS = FORGED | {
    "stale",
    "future",
    "seconds_timestamp",
    "duplicate",
    "too_large",
    "no_recipients",
    "no_attachments",
    "no_target",
    "preview",
    "attachment_elsewhere",
    "hostile_filename",
}
ROLES = ("from", "to", "cc", "bcc", "reply-to")
EXPECT = re.compile(r"archived|deleted|none|tag:tag_[0-9a-z]+")


@dataclass(frozen=True, kw_only=True)
class Order:
    """One `POST /sandbox/send`.

    `duplicates` is how many extra copies of each delivery are sent; 0.1 is one more for every tenth.
    `dropped` is the share of its webhooks that are never sent. `inbox` is where new conversations begin, the first one
    unless given; of a private one no webhook tells. `conversation`, `message`, `event` and an attachment's `id` choose
    ids, so that two companies can have the same.
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

    @property
    def is_forged(self) -> bool:
        """Whether Front itself would never have sent this."""
        return self.fault in FORGED


def read_order(body: Any) -> Order:
    """Check the words of an order, or raise BadRequest."""
    given = read_fields(body, Order)
    if "recipients" in given:
        given["recipients"] = tuple(_recipient(each) for each in given["recipients"])
    given["attachments"] = tuple(given.get("attachments", ()))
    try:
        order = Order(**given)
    except TypeError as exc:
        raise BadRequest("an order names at least a type and a company") from exc
    _check(order)
    return order


def _recipient(body: Any) -> Recipient:
    if not isinstance(body, dict) or not isinstance(body.get("handle"), str):
        raise BadRequest("a recipient is {handle, role, name?}")
    role = body.get("role", "to")
    if role not in ROLES:
        raise BadRequest(f"no such role: {role}")
    return Recipient(handle=body["handle"], role=role, name=body.get("name"))


def _check(order: Order) -> None:
    if order.type not in EVENT_TYPES and order.type != "mixed":
        raise BadRequest(f"no such type: {order.type}; there are mixed, {', '.join(EVENT_TYPES)}")
    if order.fault and order.fault not in FAULTS:
        raise BadRequest(f"no such fault: {order.fault}; there are {', '.join(sorted(FAULTS))}")
    if order.expect and not EXPECT.fullmatch(order.expect):
        raise BadRequest("expect is archived, deleted, tag:<id> or none")
    if order.expect not in {None, "none"} and order.is_forged:
        raise BadRequest(f"nothing may come of a webhook with the fault {order.fault}")
    if not 0 <= order.dropped <= 1:
        raise BadRequest("dropped is a share, from 0 to 1")
    if order.count < 0 or order.threads < 1:
        raise BadRequest("count is at least 0, threads at least 1")


def read_attachments(order: Order, ids: IdSequence) -> tuple[Attachment, ...]:
    """The files of one message: those described, then `attachment_count` ordinary ones."""
    described = [_attachment(each, ids) for each in order.attachments]
    ordinary = [
        Attachment(
            id=ids.new("fil"),
            filename=f"page-{number + 1}.pdf",
            content_type="application/pdf",
            size=20_000 + 1_000 * number,
        )
        for number in range(order.attachment_count)
    ]
    return (*described, *ordinary)


def _attachment(body: dict[str, Any], ids: IdSequence) -> Attachment:
    return Attachment(
        id=body.get("id") or ids.new("fil"),
        filename=body.get("filename", "file.bin"),
        content_type=body.get("content_type", "application/octet-stream"),
        size=int(body.get("size", 10_000)),
        is_inline=bool(body.get("is_inline", False)),
        url=body.get("url"),
    )
