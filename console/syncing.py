"""Brings a tenant's users and shared inboxes in line with Front's lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.teammate_changes import Change, address_keys, changes
from shared.db import synced_users, users
from shared.db.synced_users import SyncedUser

if TYPE_CHECKING:
    from shared.db.pool import Connection
    from shared.front.people import Teammate

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


def _synced(change: Change) -> SyncedUser:
    return SyncedUser(
        external_id=change.external_id,
        name=change.name,
        active=change.what != "deactivated",
        address_key=change.address_key,
        address=change.email,
    )
