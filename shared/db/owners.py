"""Whose addresses are: users' own, and those of shared inboxes; one statement for any number of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.db.arrays import Bigints, Texts
from shared.db.pool import Connection
from shared.models import AddressOwner, MatchedUser, Owners, SharedInbox

OWNERS = """
    SELECT k.tenant_id, k.address, a.position, i.inbox_name,
        u.id, u.external_id, u.active, u.action, d.id, d.external_id, d.active, d.action
    FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, address)
    LEFT JOIN user_addresses a USING (tenant_id, address)
    LEFT JOIN inbox_addresses i USING (tenant_id, address)
    LEFT JOIN users u ON u.tenant_id = k.tenant_id AND u.id = coalesce(a.user_id, i.user_id)
    LEFT JOIN tenants t ON t.id = i.tenant_id
    LEFT JOIN users d ON d.tenant_id = t.id AND d.id = t.default_owner
    WHERE a.address IS NOT NULL OR i.address IS NOT NULL
"""


def owners_of(conn: Connection, keys: Iterable[tuple[int, str]]) -> dict[int, Owners]:
    """Whose these (tenant id, address key) pairs are, by tenant id; a user's own address is no inbox's."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = conn.execute(
        OWNERS, (Bigints(tenant_id for tenant_id, _ in wanted), Texts(address for _, address in wanted))
    )
    owners: dict[int, dict[str, AddressOwner | SharedInbox]] = {}
    for tenant_id, address, position, inbox_name, *users in rows:
        own, default = users[:4], users[4:]
        owners.setdefault(tenant_id, {})[address] = (
            SharedInbox(name=inbox_name, user=_user(own), default_owner=_user(default))
            if position is None
            else AddressOwner(user_id=own[0], external_id=own[1], active=own[2], action=own[3], position=position)
        )
    return dict(owners)


def _user(columns: Sequence[Any]) -> MatchedUser | None:
    user_id, external_id, active, action = columns
    if user_id is None:
        return None
    return MatchedUser(user_id=user_id, external_id=external_id, active=active, action=action)
