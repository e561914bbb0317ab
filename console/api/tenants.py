"""Tenants: who they are, what is done with their conversations, whether they go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from console.api.blueprint import BODY, TENANTS, api, said
from console.api.schemas import TenantPath
from console.api.sender import for_every_tenant, only_tenant
from console.api.tenant_lookup import hold, keep, overview
from console.api.tenant_schemas import (
    ConnectLink,
    LinkQuery,
    NewTenant,
    PolicyPatch,
    TenantPage,
    TenantShown,
    TenantsQuery,
)
from console.connect_links import new_link
from console.web.resources import current
from shared.actions import checked_action, checked_inboxes, refuse_hasty_trash
from shared.db import tenant_lookup, tenants

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.connect_links import NewLink
    from shared.db.pool import Connection
    from shared.db.tenants import PolicyChange, TenantOverview

Shown = dict[str, Any]


@api.get("/tenants", tags=[TENANTS], responses={200: TenantPage})
def list_tenants(query: TenantsQuery) -> Shown:
    """List the tenants that the token sees, by id."""
    only = only_tenant()
    found = current().pool.run(
        lambda conn: tenant_lookup.page(
            conn, after=query.after, limit=query.limit + 1, only=only, customer=query.customer
        )
    )
    page = found[: query.limit]
    return {"tenants": [_shown(each) for each in page], "next": page[-1].id if len(found) > len(page) else None}


@api.post("/tenants", tags=[TENANTS], responses={201: TenantShown, **BODY, **said(409)})
def add_tenant(body: NewTenant) -> tuple[Shown, int]:
    """Add a tenant; it waits for its connection."""
    for_every_tenant()

    def write(conn: Connection) -> TenantOverview:
        return overview(conn, tenants.add(conn, body.name, body.company_id, customer=body.customer))

    return _shown(current().pool.run(write)), 201


@api.get("/tenants/<int:tenant_id>", tags=[TENANTS], responses={200: TenantShown})
def show_tenant(path: TenantPath) -> Shown:
    """Show one tenant."""
    return _shown(current().pool.run(lambda conn: overview(conn, path.tenant_id)))


@api.patch("/tenants/<int:tenant_id>", tags=[TENANTS], responses={200: TenantShown, **BODY})
def change_policy(path: TenantPath, body: PolicyPatch) -> Shown:
    """Change what is done with a tenant's future conversations."""
    change = _change(body)

    def write(conn: Connection, found: TenantOverview) -> None:
        refuse_hasty_trash(change.action or found.action, change.wait_for or found.wait_for)
        tenants.set_policy(conn, found.id, change)

    return _changed(path, write)


@api.post("/tenants/<int:tenant_id>/pause", tags=[TENANTS], responses={200: TenantShown})
def pause_tenant(path: TenantPath) -> Shown:
    """Hold a tenant's work back; its deliveries are still received and recorded."""
    return _changed(path, lambda conn, found: tenants.pause(conn, found.id))


@api.post("/tenants/<int:tenant_id>/resume", tags=[TENANTS], responses={200: TenantShown})
def resume_tenant(path: TenantPath) -> Shown:
    """Let a paused tenant's work go on; `parked_cause` says what it still waits for."""
    return _changed(path, lambda conn, found: tenants.resume(conn, found.id))


@api.post("/tenants/<int:tenant_id>/connect-links", tags=[TENANTS], responses={201: ConnectLink})
def make_connect_link(path: TenantPath, query: LinkQuery) -> tuple[Shown, int]:
    """Make the link that connects a tenant; older ones of it end. It is shown this once."""
    settings, valid_for = current().settings, timedelta(days=query.days)

    def write(conn: Connection) -> NewLink:
        keep(conn, path.tenant_id)
        return new_link(conn, settings, path.tenant_id, valid_for=valid_for)

    link = current().pool.run(write)
    return {"url": link.url, "expires_at": _plain(link.expires_at)}, 201


def _changed(path: TenantPath, change: Callable[[Connection, TenantOverview], object]) -> Shown:
    def write(conn: Connection) -> TenantOverview:
        hold(conn, path.tenant_id)
        change(conn, overview(conn, path.tenant_id))
        return overview(conn, path.tenant_id)

    return _shown(current().pool.run(write))


def _change(body: PolicyPatch) -> PolicyChange:
    return tenants.PolicyChange(
        action=None if body.action is None else checked_action(body.action),
        wait_for=body.wait_for,
        only_when_matched=body.only_when_matched,
        fold_plus=body.fold_plus,
        act_within=None if body.act_within_seconds is None else timedelta(seconds=body.act_within_seconds),
        only_inboxes=checked_inboxes(body.only_inboxes) if body.only_inboxes else body.only_inboxes,
        dry_run=body.dry_run,
    )


def _shown(found: TenantOverview) -> Shown:
    """A tenant's document: every field of the schema, times in UTC."""
    known = vars(found) | {"act_within_seconds": int(found.act_within.total_seconds())}
    return {name: _plain(known[name]) for name in TenantShown.model_fields}


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
