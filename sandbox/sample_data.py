"""Sample data: the people and inboxes of a company, and the mail that it gets.

A company and the bytes of an attachment depend on their ids alone. They are the same after a restart.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sandbox.faults import DOWNLOAD_KINDS
from sandbox.models import Attachment, Company, Inbox, Recipient, Tag, Teammate, stable_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.models import IdSequence
    from sandbox.send_request import SendRequest

PEOPLE = (
    # first name, last name, type, admin, blocked
    ("Ines", "Marlow", "user", True, False),
    ("Tomas", "Behrend", "user", False, False),
    ("Aiko", "Sand", "user", False, False),
    ("Sorting", "Robot", "rule", False, False),
    ("Gone", "Colleague", "user", False, True),
)
INBOXES = (("Front desk", "desk"), ("Orders", "orders"))
TAGS = (
    # name, highlight, private
    ("Handled", "green", False),
    ("Paperwork", "blue", False),
    ("Inbox", None, True),
)
CUSTOMER = "lena.voss@harbour-bakery.example"
SENTENCE = "Good day, please see to this when you find the time. Kind regards. "
SUBJECTS = ("Your order 4711", "Question about the bill", "Samples arrived", "Change of address")
HOSTILE_FILENAMES = (
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
CHUNK_BYTES = 64 * 1024


def sample_company(company_id: str, name: str) -> Company:
    """Make a company with five teammates (a bot and a blocked one among them), two inboxes and three tags."""
    domain = f"{_slug(name)}-{_slug(company_id.removeprefix('cmp_'))}.example"
    return Company(
        id=company_id,
        name=name,
        domain=domain,
        teammates=tuple(_teammate(company_id, domain, person) for person in PEOPLE),
        inboxes=tuple(_inbox(company_id, domain, *inbox) for inbox in INBOXES),
        tags=tuple(_tag(company_id, *tag) for tag in TAGS),
        team_id=stable_id("tim", company_id),
        rule_id=stable_id("rul", company_id),
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "company"


def _teammate(company_id: str, domain: str, person: tuple[str, str, str, bool, bool]) -> Teammate:
    first, last, teammate_type, is_admin, is_blocked = person
    return Teammate(
        id=stable_id("tea", company_id, first, last),
        email=f"{first}.{last}@{domain}".lower(),
        first_name=first,
        last_name=last,
        type=teammate_type,
        is_admin=is_admin,
        is_blocked=is_blocked,
    )


def _inbox(company_id: str, domain: str, name: str, local_part: str) -> Inbox:
    return Inbox(
        id=stable_id("inb", company_id, local_part),
        name=name,
        address=f"{local_part}@{domain}",
        channel_id=stable_id("cha", company_id, local_part),
        technical=f"{stable_id('in', company_id, local_part)}@in.front.example",
    )


def _tag(company_id: str, name: str, highlight: str | None, is_private: bool) -> Tag:
    return Tag(id=stable_id("tag", company_id, name), name=name, highlight=highlight, is_private=is_private)


def message_subject(request: SendRequest, at: float) -> str:
    """The requested subject, or a sample one."""
    return request.subject or SUBJECTS[int(at * 1000) % len(SUBJECTS)]


def message_text(request: SendRequest) -> str:
    """A sample text, repeated up to the requested size."""
    size = request.text_size or len(SENTENCE) - 1
    return (SENTENCE * (size // len(SENTENCE) + 1))[:size]


def message_recipients(request: SendRequest, company: Company, *, is_inbound: bool) -> tuple[Recipient, ...]:
    """The requested recipients with a sender, or a customer and the company's first inbox."""
    company_address = company.inboxes[0].address
    sender = Recipient(handle=CUSTOMER if is_inbound else company_address, role="from")
    if request.recipients is None:
        return sender, Recipient(handle=company_address if is_inbound else CUSTOMER, role="to")
    if any(recipient.role == "from" for recipient in request.recipients):
        return request.recipients
    return sender, *request.recipients


def message_attachments(request: SendRequest, ids: IdSequence, elsewhere: str) -> tuple[Attachment, ...]:
    """The requested attachments, at least one if the fault is about downloads.

    The fault `attachment_elsewhere` puts them on another host, at `elsewhere`.
    """
    if request.fault == "hostile_filename":
        return tuple(
            Attachment(id=ids.new("fil"), filename=name, content_type="text/plain", size=100 + number)
            for number, name in enumerate(HOSTILE_FILENAMES)
        )
    described = [_described_attachment(each, ids) for each in request.attachments]
    count = request.attachment_count or (request.fault in DOWNLOAD_KINDS and not described)
    samples = [_sample_attachment(number, ids) for number in range(count)]
    attachments = (*described, *samples)
    if request.fault in DOWNLOAD_KINDS:
        return tuple(replace(each, fault=request.fault) for each in attachments)
    if request.fault == "attachment_elsewhere":
        return tuple(replace(each, url=f"{elsewhere}/{each.id}") for each in attachments)
    return attachments


def _described_attachment(body: dict[str, Any], ids: IdSequence) -> Attachment:
    return Attachment(
        id=body.get("id") or ids.new("fil"),
        filename=body.get("filename", "file.bin"),
        content_type=body.get("content_type", "application/octet-stream"),
        size=int(body.get("size", 10_000)),
        is_inline=bool(body.get("is_inline", False)),
        url=body.get("url"),
        fault=body.get("fault"),
    )


def _sample_attachment(number: int, ids: IdSequence) -> Attachment:
    return Attachment(
        id=ids.new("fil"),
        filename=f"page-{number + 1}.pdf",
        content_type="application/pdf",
        size=20_000 + 1_000 * number,
    )


def attachment_chunks(company_id: str, attachment_id: str, size: int) -> Iterator[bytes]:
    """Yield the `size` bytes of an attachment, at most 64 KiB at a time."""
    source = random.Random(f"{company_id}/{attachment_id}")
    for start in range(0, size, CHUNK_BYTES):
        yield source.randbytes(min(CHUNK_BYTES, size - start))


def attachment_sha256(company_id: str, attachment_id: str, size: int) -> str:
    """Compute the checksum of an attachment's bytes."""
    digest = hashlib.sha256()
    for chunk in attachment_chunks(company_id, attachment_id, size):
        digest.update(chunk)
    return digest.hexdigest()
