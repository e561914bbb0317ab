"""Finds the tenant that a request is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.api.sender import no_tenant
from shared.db import tenant_lookup

if TYPE_CHECKING:
    from shared.db.pool import Connection
    from shared.db.tenants import TenantOverview


def keep(conn: Connection, tenant_id: int) -> None:
    """Keep the tenant there for this transaction. Raises UnknownTenant."""
    if not tenant_lookup.keep(conn, tenant_id):
        raise no_tenant(tenant_id)


def hold(conn: Connection, tenant_id: int) -> None:
    """Keep the tenant as it is for this transaction, but for what it changes itself. Raises UnknownTenant."""
    if not tenant_lookup.hold(conn, tenant_id):
        raise no_tenant(tenant_id)


def overview(conn: Connection, tenant_id: int) -> TenantOverview:
    """The tenant. Raises UnknownTenant."""
    found = tenant_lookup.of_id(conn, tenant_id)
    if found is None:
        raise no_tenant(tenant_id)
    return found
