"""Brings a tenant's users and shared inboxes in line with Front's lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from console.inbox_changes import InboxChange, inbox_changes
from console.teammate_changes import Change, address_keys, changes
from shared.db import inboxes, synced_users, users
from shared.db.synced_users import SyncedUser

if TYPE_CHECKING:
    from shared.db.pool import Connection
    from shared.front.objects import Inbox
    from shared.front.people import Channel, Teammate
    from shared.inbox_address import InboxAddress

WRITTEN = frozenset({"added", "changed", "deactivated"})


def sync_teammates(conn: Connection, tenant_id: int, teammates: Sequence[Teammate], *, dry_run: bool) -> list[Change]:
    """Make the tenant's users those of Front, as far as nobody gave them otherwise; what was, or would be, done."""
    with conn.transaction():
        users.hold(conn, tenant_id)
        known = synced_users.concerned(
            conn,
            tenant_id,
            external_ids=[teammate.id for teammate in teammates],
            address_keys=list(address_keys(teammates).values()),
        )
        found = changes(teammates, known)
        if not dry_run:
            synced_users.put(conn, tenant_id, [_synced(change) for change in found if change.what in WRITTEN])
    return found


def sync_inboxes(
    conn: Connection, tenant_id: int, shared: Iterable[Inbox], channels: Iterable[Channel], *, dry_run: bool
) -> list[InboxChange]:
    """Take in the addresses of Front's shared inboxes, with the users mapped to them; what was, or would be, done."""
    with conn.transaction():
        users.hold(conn, tenant_id)
        found = inbox_changes(shared, channels, inboxes.of_tenant(conn, tenant_id))
        if not dry_run:
            inboxes.put(conn, tenant_id, _of(found, "added", "changed"))
            inboxes.remove(conn, tenant_id, [address.key for address in _of(found, "removed")])
    return found


def _of(found: Iterable[InboxChange], *what: str) -> list[InboxAddress]:
    return [change.address for change in found if change.what in what]


def _synced(change: Change) -> SyncedUser:
    return SyncedUser(
        external_id=change.external_id,
        name=change.name,
        active=change.what != "deactivated",
        address_key=change.address_key,
        address=change.email,
    )
