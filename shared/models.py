"""The records that cross module borders: frozen, and named with the words of docs/architecture.md.

What the recorder makes for each event is a named tuple: a frozen dataclass takes two to three times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

#: What a task may find to be over: an outage for everybody, or a permission that its tenant's token lacked.
Probe = Literal["front", "storage", "missing_scope"]
Origin = Literal["webhook", "spooled", "repaired"]
EventKey = tuple[str, str]  # company id, Front's event id

EVENT_STATES = ("processing", "done", "ignored", "parked", "failed")
TASK_STATES = ("ready", "queued", "running", "parked", "done", "failed", "discarded", "skipped", "superseded")


class Delivery(NamedTuple):
    """One HTTP request from Front, as received. `id` is ours: 32 hex digits that start every log line about it."""

    id: str
    received_at: datetime
    body: bytes


class Recipient(NamedTuple):
    """A handle and its role on a message, as Front sent them; a handle may be no address at all."""

    handle: str
    role: str


class Attachment(NamedTuple):
    """A file of a message as Front announces it. Name, type and size are the sender's words."""

    front_id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool


@dataclass(frozen=True, kw_only=True)
class Message:
    """What Mailroom needs of a message; a part is None where Front left it out (not where it is empty)."""

    id: str | None
    recipients: tuple[Recipient, ...] | None
    attachments: tuple[Attachment, ...] | None


class Envelope(NamedTuple):
    """A delivery's parsed body. `front_id` is Front's event id, None where the body names none.

    `inbox_ids`: where it happened; empty where the body does not tell.
    """

    type: str
    company_id: str
    front_id: str | None
    conversation_id: str | None
    source: str | None
    emitted_at: datetime | None
    message: Message | None
    inbox_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a tenant was connected with. `secret` is sealed by the token vault; `updated_at` is when Front gave it."""

    tenant_id: int
    company_id: str
    kind: Literal["api_token", "oauth"]
    secret: bytes
    version: int
    expires_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Token:
    """A tenant's access token, decrypted; never printed, never stored outside `connections`."""

    tenant_id: int
    company_id: str
    version: int
    access_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """One answer of Front's token endpoint; never printed, never stored unsealed."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to Front as it went: for the attempt's record, without query, token or body."""

    method: str
    path: str
    status: int | None
    milliseconds: int
    budget_left: int | None


@dataclass(frozen=True, kw_only=True)
class EventPage:
    """Events of Front's list, each like `payload` of a webhook, and the path of the page that follows, if any."""

    events: tuple[dict[str, Any], ...]
    next_path: str | None


class Tenant(NamedTuple):
    """A tenant and its policy, as the recorder needs them; `only_inboxes` None: all of them."""

    id: int
    company_id: str
    connected_at: datetime | None
    action: str
    only_when_matched: bool
    wait_for: str
    fold_plus: bool
    act_within: timedelta
    only_inboxes: Sequence[str] | None = None
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class MatchedUser:
    """A user as matching and policy need one; without an `action` the tenant's applies."""

    user_id: int
    external_id: str
    active: bool
    action: str | None


@dataclass(frozen=True, kw_only=True)
class AddressOwner(MatchedUser):
    """The user who owns an address; `position` counts the user's addresses from 1."""

    position: int


@dataclass(frozen=True, kw_only=True)
class SharedInbox:
    """Whom the mail to an address of a shared inbox is for: the user mapped to it, else the tenant's default owner."""

    name: str | None
    user: MatchedUser | None
    default_owner: MatchedUser | None


#: Whose an address is, by its key.
Owners = Mapping[str, AddressOwner | SharedInbox]


class Match(NamedTuple):
    """A recipient and the user it is (None: nobody), with the reason in words."""

    recipient: Recipient
    user: MatchedUser | None
    reason: str


class PlannedAction(NamedTuple):
    """What will be done to the conversation, or why nothing will; `dry_run`: all of it but the change itself."""

    kind: str
    wait_for: str
    state: Literal["planned", "skipped"]
    reason: str
    dry_run: bool = False


class Plan(NamedTuple):
    """What follows from a message: matches, files and action; `fetch` where the message must be read first."""

    fetch: bool = False
    matches: tuple[Match, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    action: PlannedAction | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One claimed task: whoever holds `lease_epoch` may write. `probes`: what else stands against it.

    `conversation_id` is that of its event, empty where that has none.
    """

    id: int
    kind: str
    event_id: int
    tenant_id: int
    attachment_id: int | None
    lease_epoch: int
    attempts: int
    conversation_id: str = ""
    probes: Sequence[Probe] = ()


@dataclass(frozen=True, kw_only=True)
class InboxAddress:
    """An address of a shared inbox; `inbox_id` is None where a person named it, `user` where nobody is mapped to it.

    `key` is the form in which addresses are compared, `user` an external id.
    """

    key: str
    address: str
    inbox_id: str | None
    inbox: str | None
    user: str | None = None
    user_active: bool | None = None
