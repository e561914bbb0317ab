"""Whose addresses are: users' own, and those of shared inboxes; one statement for any number of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.db.arrays import Bigints, Texts
from shared.db.pool import Connection
from shared.models import AddressOwner, MatchedUser, Owners, SharedInbox

# Address by address, by key alone: `OFFSET 0` leaves the planner no other way. As plain joins, tables that were filled
# and not yet analysed had every user read for every chunk: of a million that was 4,100 us for each event.
OWNERS = """
    SELECT k.tenant_id, k.address, a.position, i.inbox_name,
        u.id, u.external_id, u.active, u.action, d.id, d.external_id, d.active, d.action
    FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, address)
    LEFT JOIN LATERAL (
        SELECT * FROM user_addresses WHERE tenant_id = k.tenant_id AND address = k.address OFFSET 0
    ) a ON true
    LEFT JOIN LATERAL (
        SELECT i.*, t.default_owner FROM inbox_addresses i JOIN tenants t ON t.id = i.tenant_id
        WHERE i.tenant_id = k.tenant_id AND address = k.address OFFSET 0
    ) i ON true
    LEFT JOIN LATERAL (
        SELECT * FROM users WHERE tenant_id = k.tenant_id AND id = coalesce(a.user_id, i.user_id) OFFSET 0
    ) u ON true
    LEFT JOIN LATERAL (SELECT * FROM users WHERE tenant_id = i.tenant_id AND id = i.default_owner OFFSET 0) d ON true
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
