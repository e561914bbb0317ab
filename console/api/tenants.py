"""Tenants: who they are, what is done with their conversations, whether they go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from console.api.blueprint import BODY, TENANTS, api, for_every_tenant, hold, keep, only_tenant, overview, said
from console.api.schemas import BIGGEST_ID, Answer, Body, Parameters, TenantPath
from console.issued_secrets import new_link
from console.web.resources import current
from shared.actions import validate_wait_for, validated_action, validated_inboxes
from shared.db.tenants import tenants
from shared.db.tenants.tenants import LONGEST_NAME, is_name
from shared.front.envelope import COMPANY

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.issued_secrets import NewLink
    from shared.db.core.pool import Connection
    from shared.db.tenants.tenants import PolicyChange, TenantOverview


LONGEST_PAGE = 500
MOST_INBOXES = 1_000
TEN_YEARS = 3_650 * 86_400  # seconds

EXAMPLE: dict[str, JsonValue] = {
    "id": 1,
    "name": "Acme",
    "company_id": "cmp_4k2p9",
    "customer": "4711",
    "connection": "oauth",
    "connected_at": "2026-03-01T08:00:00+00:00",
    "parked_cause": None,
    "parked_at": None,
    "users": 120,
    "action": "archive",
    "wait_for": "stored",
    "only_when_matched": True,
    "fold_plus": False,
    "act_within_seconds": 604800,
    "only_inboxes": None,
    "dry_run": False,
}

Shown = dict[str, Any]


def _printable(value: str) -> str:
    if not is_name(value):
        raise ValueError(f"up to {LONGEST_NAME} printable characters")
    return value


CustomerId = Annotated[str, AfterValidator(_printable)]


class TenantsQuery(Parameters):
    """A page of tenants, by id."""

    limit: int = Field(100, ge=1, le=LONGEST_PAGE, description="Most tenants of a page")
    after: int = Field(0, ge=0, le=BIGGEST_ID, description="`next` of the page before")
    customer: CustomerId | None = Field(None, description="Only the tenants of this customer of yours")


class NewTenant(Body):
    """A customer's Front company that is to be connected."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Acme", "customer": "4711"}})

    name: Annotated[
        str,
        AfterValidator(_printable),
        Field(max_length=LONGEST_NAME, description="As people read it; one tenant has it"),
    ]
    company_id: Annotated[str, Field(pattern=f"^{COMPANY.pattern}$")] | None = Field(
        None, description="Front's id, where it is known before connecting"
    )
    customer: CustomerId | None = Field(
        None, description="Your own id of the customer; several tenants may have the same"
    )


class PolicyPatch(Body):
    """The parts of a tenant's policy to change for future events; what is left out or null stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"action": "archive", "act_within_seconds": 604800}})

    action: str | None = Field(None, description="none, archive, trash or tag:TAG_ID")
    wait_for: Literal["stored", "settled"] | None = Field(
        None, description="Which files an archive or tag waits for; a trash waits until all are stored"
    )
    only_when_matched: bool | None = Field(None, description="Whether a recipient must be a user")
    fold_plus: bool | None = Field(None, description="Whether jane+bills@… is jane@…")
    act_within_seconds: int | None = Field(None, ge=1, le=TEN_YEARS, description="Act only on events younger than this")
    only_inboxes: list[str] | None = Field(
        None, max_length=MOST_INBOXES, description="Act in these inboxes (inb_…) only; an empty list: in every inbox"
    )
    dry_run: bool | None = Field(None, description="Plan and tell everything, change nothing in Front")


class LinkQuery(Parameters):
    """How a connect link is made."""

    days: int = Field(7, ge=1, le=90, description="How long it is good for")


class ConnectLink(Answer):
    """The link that an admin of the customer opens to connect Front; shown this once."""

    url: str
    expires_at: datetime


class TenantShown(Answer):
    """A tenant."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: int
    name: str
    company_id: str | None = Field(description="Front's id; null until connected")
    customer: str | None = Field(description="Your own id of the customer")
    connection: Literal["oauth", "api_token"] | None
    connected_at: datetime | None
    parked_cause: str | None = Field(
        description="What stands against its work: paused, needs_reconnect, missing_scope, erasing"
    )
    parked_at: datetime | None
    users: int
    action: str
    wait_for: str
    only_when_matched: bool
    fold_plus: bool
    act_within_seconds: int
    only_inboxes: list[str] | None = Field(description="null: every inbox")
    dry_run: bool


class TenantPage(Answer):
    """A page of tenants."""

    tenants: list[TenantShown]
    next: int | None = Field(description="Where the next page begins; null: this is the last")


@api.get("/tenants", tags=[TENANTS], responses={200: TenantPage})
def list_tenants(query: TenantsQuery) -> Shown:
    """List the tenants that the token sees, by id."""
    only = only_tenant()
    found = current().pool.run(
        lambda conn: tenants.page(conn, after=query.after, limit=query.limit + 1, only=only, customer=query.customer)
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
        validate_wait_for(change.action or found.action, change.wait_for or found.wait_for)
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
        action=None if body.action is None else validated_action(body.action),
        wait_for=body.wait_for,
        only_when_matched=body.only_when_matched,
        fold_plus=body.fold_plus,
        act_within=None if body.act_within_seconds is None else timedelta(seconds=body.act_within_seconds),
        only_inboxes=validated_inboxes(body.only_inboxes) if body.only_inboxes else body.only_inboxes,
        dry_run=body.dry_run,
    )


def _shown(found: TenantOverview) -> Shown:
    """A tenant's document: every field of the schema, times in UTC."""
    known = vars(found) | {"act_within_seconds": int(found.act_within.total_seconds())}
    return {name: _plain(known[name]) for name in TenantShown.model_fields}


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
