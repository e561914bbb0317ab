"""The mail an order describes: addresses, text and files, hostile ones on request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.models import Attachment, Recipient
from sandbox.send_request import read_attachments

if TYPE_CHECKING:
    from sandbox.models import Company, IdSequence
    from sandbox.send_request import Order

CUSTOMER = "lena.voss@harbour-bakery.example"
SENTENCE = "Good day, please see to this when you find the time. Kind regards. "
SUBJECTS = ("Your order 4711", "Question about the bill", "Samples arrived", "Change of address")
HOSTILE = (
    "../../etc/passwd",
    "/absolute.txt",
    "C:\\windows\\system32\\cmd.exe",
    "CON",
    "line\r\nbreak: 1.txt",
    "nul\x00byte.pdf",
    "\u202etxt.exe",
    "<img src=x onerror=alert(1)>.png",
    "a" * 1000 + ".txt",
    "..",
    "",
    "\ud800.txt",
    "Übersicht März €.xlsx",
)


def subject(order: Order, at: float) -> str:
    """The ordered subject, or one of a few everyday ones."""
    return order.subject or SUBJECTS[int(at * 1000) % len(SUBJECTS)]


def text(order: Order) -> str:
    """A polite request, repeated up to the ordered size."""
    size = order.text_size or len(SENTENCE) - 1
    return (SENTENCE * (size // len(SENTENCE) + 1))[:size]


def recipients(order: Order, company: Company, *, is_inbound: bool) -> tuple[Recipient, ...]:
    """Who it is from and to; the ordered ones win, a missing sender is added."""
    desk = company.inboxes[0].address
    sender = Recipient(handle=CUSTOMER if is_inbound else desk, role="from")
    if order.recipients is None:
        return sender, Recipient(handle=desk if is_inbound else CUSTOMER, role="to")
    if any(recipient.role == "from" for recipient in order.recipients):
        return order.recipients
    return sender, *order.recipients


def attachments(order: Order, ids: IdSequence, elsewhere: str) -> tuple[Attachment, ...]:
    """The files; `elsewhere` is the address on another host that a faulty url points to."""
    if order.fault == "hostile_filename":
        return tuple(
            Attachment(id=ids.new("fil"), filename=name, content_type="text/plain", size=100 + number)
            for number, name in enumerate(HOSTILE)
        )
    ordinary = read_attachments(order, ids)
    if order.fault == "attachment_elsewhere":
        return tuple(replace(each, url=f"{elsewhere}/{each.id}") for each in ordinary)
    return ordinary
