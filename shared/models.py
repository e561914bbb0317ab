"""The records that modules pass to each other: immutable, and named with the words of docs/architecture.md.

The recorder makes some of them for each event. Those are named tuples, because making a frozen dataclass takes two to
three times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

#: An obstacle that a task may find to be gone: an outage for everybody, or a permission that its tenant's token lacked.
Probe = Literal["front", "storage", "missing_scope"]
Origin = Literal["webhook", "spooled", "repaired"]
EventKey = tuple[str, str]  # company id, Front's event id

#: What a tenant may have used up, so that its files wait; with the words of people.
Quota = Literal["stored_bytes", "events_a_day"]
QUOTAS: Mapping[Quota, str] = {"stored_bytes": "stored bytes", "events_a_day": "events a day (UTC)"}

#: Counting for people ends one row after this many: "10,000+".
MOST_COUNTED = 10_000
EVENT_STATES = ("processing", "done", "ignored", "parked", "failed")
#: The kinds of tasks, in the order in which an event may have them.
TASK_KINDS = ("record", "fetch_message", "store_attachment", "apply_action", "undo_action", "notify")
GROUP_STATES = ("open", "acknowledged", "ignored", "fixed")
TASK_STATES = ("ready", "queued", "running", "parked", "done", "failed", "discarded", "skipped", "superseded")


class Delivery(NamedTuple):
    """One HTTP request from Front, as received. `id` is ours: 32 hex digits, which start every log line about it."""

    id: str
    received_at: datetime
    body: bytes


class Recipient(NamedTuple):
    """A handle and its role on a message, as Front sent them. A handle need not be an address."""

    handle: str
    role: str


class Attachment(NamedTuple):
    """A file of a message, as Front announces it. The sender chose its name, type and size."""

    front_id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool


@dataclass(frozen=True, kw_only=True)
class Message:
    """The parts of a message that Mailroom needs. A part that Front left out is None; an empty one is not.

    `fetched` is the JSON of a message that was read through Front's API, None for one that a webhook brought.
    """

    id: str | None
    recipients: tuple[Recipient, ...] | None
    attachments: tuple[Attachment, ...] | None
    fetched: bytes | None = None


class Envelope(NamedTuple):
    """The parsed body of a delivery. `front_id` is Front's event id, None when the body has none.

    `emitted_at` is None when nobody can tell how old the event is. `inbox_ids`: the inboxes in which the event
    happened; empty when the body names none. `merged_ids`: the conversations that were merged into this one.
    """

    type: str
    company_id: str
    front_id: str | None
    conversation_id: str | None
    source: str | None
    emitted_at: datetime | None
    message: Message | None
    inbox_ids: tuple[str, ...] = ()
    merged_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The grant of a tenant's connection. The token vault sealed `secret`; Front gave it at `updated_at`."""

    tenant_id: int
    company_id: str
    kind: Literal["api_token", "oauth"]
    secret: bytes
    version: int
    expires_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Token:
    """A tenant's access token, decrypted. It is never printed, and stored in `connections` only."""

    tenant_id: int
    company_id: str
    version: int
    access_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens in one answer of Front's token endpoint. They are never printed, and stored only sealed."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request that was sent to Front: for the attempt's record, without query, token and body."""

    method: str
    path: str
    status: int | None
    milliseconds: int
    budget_left: int | None


@dataclass(frozen=True, kw_only=True)
class EventPage:
    """One page of Front's event list: each event is like `payload` of a webhook. `next_path`: the next page, if any."""

    events: tuple[dict[str, Any], ...]
    next_path: str | None


class Tenant(NamedTuple):
    """A tenant and its policy, as the recorder needs them. `only_inboxes` is None for all inboxes."""

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
    act_after: str = "files"


@dataclass(frozen=True, kw_only=True)
class MatchedUser:
    """A user, as matching and policy need one. Without an `action` of the user, the tenant's action applies."""

    user_id: int
    external_id: str
    active: bool
    action: str | None


@dataclass(frozen=True, kw_only=True)
class AddressOwner(MatchedUser):
    """The user who owns an address. `position` counts the user's addresses from 1."""

    position: int


@dataclass(frozen=True, kw_only=True)
class SharedInbox:
    """A shared inbox, whose mail is for the user mapped to it, or else for the tenant's default owner."""

    name: str | None
    user: MatchedUser | None
    default_owner: MatchedUser | None


#: The owner of each address, by the address's key.
Owners = Mapping[str, AddressOwner | SharedInbox]


class Match(NamedTuple):
    """A recipient and the user it belongs to (None: nobody), with the reason in words."""

    recipient: Recipient
    user: MatchedUser | None
    reason: str


class PlannedAction(NamedTuple):
    """The action planned for a conversation, or the reason for none. `dry_run`: everything but the change is done."""

    kind: str
    wait_for: str
    state: Literal["planned", "skipped"]
    reason: str
    dry_run: bool = False
    act_after: str = "files"


class Plan(NamedTuple):
    """The consequences of a message: matches, files and an action. `fetch`: the message must be read at Front first."""

    fetch: bool = False
    matches: tuple[Match, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    action: PlannedAction | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One claimed task. An attempt may write only while the task still has its `lease_epoch`.

    `conversation_id` is that of the task's event, empty when the event has none; `delivery_id` is its first delivery's.
    `probes`: the obstacles that stood against the task when it was claimed; its attempt shows whether they are gone.
    `is_live`: no backlog holds it up.
    """

    id: int
    kind: str
    event_id: int
    tenant_id: int
    attachment_id: int | None
    lease_epoch: int
    attempts: int
    conversation_id: str = ""
    delivery_id: str = ""
    probes: Sequence[Probe] = ()
    is_live: bool = False


@dataclass(frozen=True, kw_only=True)
class InboxAddress:
    """An address of a shared inbox. `key` is the form in which addresses are compared.

    `inbox_id` and `inbox` are None when a person named the address. `user` is the external id of the user mapped to the
    address, None when there is none.
    """

    key: str
    address: str
    inbox_id: str | None
    inbox: str | None
    user: str | None = None
    user_active: bool | None = None
