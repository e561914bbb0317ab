"""The routes and schemas of tenants: their names, their policy, pause and resume, connect links."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from console.api.blueprint import (
    BODY_PROBLEMS,
    CONFLICT,
    TENANTS,
    api,
    bound_tenant,
    current_actor,
    needs,
    read_tenant,
    require_unbound_token,
    run,
)
from console.api.idempotency import IdempotencyHeader, once
from console.api.lists import LONGEST_PAGE, ListPage, ListQuery, cut, number_after
from console.api.schemas import BIGGEST_ID, Parameters, RequestBody, ResponseBody, TenantPath
from console.operations import tenants as operations
from console.operations.audited import Run
from console.web.resources import current_resources
from shared.actions import validated_action, validated_inboxes
from shared.db.tenants import tenants
from shared.db.tenants.tenants import LONGEST_NAME, JournalEntry, is_name
from shared.front.envelope import COMPANY
from shared.models import Quota

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.tenants.tenants import PolicyChange, TenantOverview

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
    "paused_by": None,
    "users": 120,
    "action": "archive",
    "wait_for": "stored",
    "only_when_matched": True,
    "fold_plus": False,
    "act_within_seconds": 604800,
    "only_inboxes": None,
    "dry_run": False,
    "act_after": "files",
    "max_stored_bytes": 10737418240,
    "max_events_a_day": None,
    "stored_bytes": 734003200,
    "files_held": None,
    "files_held_at": None,
    "connection_version": 3,
    "users_with_action": 2,
    "refused_since": None,
}

Document = dict[str, Any]


def _printable(value: str) -> str:
    if not is_name(value):
        raise ValueError(f"up to {LONGEST_NAME} printable characters")
    return value


CompanyId = Annotated[str, Field(pattern=f"^{COMPANY.pattern}$")]
CustomerId = Annotated[str, AfterValidator(_printable)]


class TenantsQuery(ListQuery):
    """A page of tenants, by id."""

    limit: int = Field(100, ge=1, le=LONGEST_PAGE, description="Most tenants on a page")
    customer: CustomerId | None = Field(None, description="Only tenants with this `customer`")
    name: str | None = Field(None, max_length=LONGEST_NAME, description="Only the one with this name or company id")


class NewTenant(RequestBody):
    """A new tenant: a customer's Front company that will be connected."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Acme", "customer": "4711"}})

    name: Annotated[
        str,
        AfterValidator(_printable),
        Field(max_length=LONGEST_NAME, description="The name for people; no other tenant may have it"),
    ]
    company_id: CompanyId | None = Field(
        None, description="Front's id of the company, if you know it before connecting"
    )
    customer: CustomerId | None = Field(
        None, description="Your own id of the customer; several tenants may have the same"
    )


class PolicyPatch(RequestBody):
    """The fields of a tenant's policy to change for future events. A field that is left out or null stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"action": "archive", "act_within_seconds": 604800}})

    action: str | None = Field(None, description="none, archive, trash or tag:TAG_ID")
    wait_for: Literal["stored", "settled"] | None = Field(
        None,
        description="Archive and tag wait until all files are stored (`stored`) or none is under way (`settled`). "
        "Trash always waits until all are stored",
    )
    only_when_matched: bool | None = Field(None, description="Whether a recipient must be a user")
    fold_plus: bool | None = Field(None, description="Whether mail to jane+bills@… is matched as mail to jane@…")
    act_within_seconds: int | None = Field(None, ge=1, le=TEN_YEARS, description="Act only on events younger than this")
    only_inboxes: list[str] | None = Field(
        None, max_length=MOST_INBOXES, description="Act in these inboxes (inb_…) only; an empty list: in every inbox"
    )
    dry_run: bool | None = Field(None, description="Plan and show every action, but change nothing in Front")
    act_after: Literal["files", "notified"] | None = Field(
        None,
        description="`notified`: archive and trash wait until your application has taken the message, too",
    )
    max_stored_bytes: int | None = Field(
        None, ge=0, le=BIGGEST_ID, description="Bytes of files it may store; beyond, files wait at Front. 0: no quota"
    )
    max_events_a_day: int | None = Field(
        None, ge=0, le=BIGGEST_ID, description="Events of a day (UTC) whose files are fetched at once. 0: no quota"
    )


class LinkQuery(Parameters):
    """The choices of a new connect link."""

    days: int = Field(7, ge=1, le=90, description="The number of days that the link is good for")
    company_id: CompanyId | None = Field(None, description="The Front company that you expect; another one is refused")


class ConnectLinkShown(ResponseBody):
    """The link that an admin of the customer opens to connect Front; it is shown only once."""

    url: str
    expires_at: datetime


class JournalQuery(ListQuery):
    """A page of a tenant's journal, the latest entry first."""


class JournalPage(ListPage):
    """A page of a tenant's journal: who changed the tenant, its users, addresses, connection, links and tokens."""

    entries: list[JournalEntry]


class TenantShown(ResponseBody):
    """A tenant."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: int
    name: str
    company_id: str | None = Field(description="Front's id; null until connected")
    customer: str | None = Field(description="Your own id of the customer")
    connection: Literal["oauth", "api_token"] | None
    connected_at: datetime | None
    parked_cause: str | None = Field(
        description="The cause that stops its work: paused, needs_reconnect, missing_scope, erasing"
    )
    parked_at: datetime | None
    paused_by: Literal["operator", "tenant"] | None = Field(
        description="While it is paused: who paused it, an operator or a token of the tenant's own"
    )
    users: int
    action: str
    wait_for: str
    only_when_matched: bool
    fold_plus: bool
    act_within_seconds: int
    only_inboxes: list[str] | None = Field(description="null: every inbox")
    dry_run: bool
    act_after: str
    max_stored_bytes: int | None = Field(description="Bytes of files it may store; null: no quota")
    max_events_a_day: int | None = Field(description="Events of a day (UTC) before its files wait; null: no quota")
    stored_bytes: int | None = Field(description="Bytes of its files; counted while there is a quota for them")
    files_held: Quota | None = Field(description="The quota that is used up, for which its files wait; null: none")
    files_held_at: datetime | None
    connection_version: int | None = Field(description="How often the connection was renewed")
    users_with_action: int = Field(description="How many of its users have an action of their own")
    refused_since: datetime | None = Field(description="Since when Front refuses to renew the connection")


class TenantPage(ListPage):
    """A page of tenants."""

    tenants: list[TenantShown]


@api.get("/tenants", tags=[TENANTS], responses={200: TenantPage})
def list_tenants(query: TenantsQuery) -> Document:
    """List the tenants that the token sees, by id."""
    only = bound_tenant()
    if query.name is not None:
        named = run(lambda conn: tenants.find(conn, query.name or ""))
        return {"tenants": [_document(named)] if named and current_actor().sees(named.id) else [], "next": None}
    after = number_after(query.after) or 0
    found = run(lambda conn: tenants.page(conn, after=after, limit=query.limit + 1, only=only, customer=query.customer))
    page, following = cut(found, query.limit, lambda row: [row.id])
    return {"tenants": [_document(each) for each in page], "next": following}


@api.post("/tenants", tags=[TENANTS], responses={201: TenantShown, **BODY_PROBLEMS, **CONFLICT})
@needs("connect")
def add_tenant(header: IdempotencyHeader, body: NewTenant) -> tuple[Document, int]:
    """Add a tenant; it waits for its connection."""
    require_unbound_token("making tenants")

    def create(run: Run) -> Document:
        found = operations.add_tenant(run, current_actor(), body.name, body.company_id, customer=body.customer)
        return _document(found)

    return once(header, create)


@api.get("/tenants/<int:tenant_id>", tags=[TENANTS], responses={200: TenantShown})
def show_tenant(path: TenantPath) -> Document:
    """Show one tenant."""
    return _shown(path)


@api.patch("/tenants/<int:tenant_id>", tags=[TENANTS], responses={200: TenantShown, **BODY_PROBLEMS})
@needs("policy")
def change_policy(path: TenantPath, body: PolicyPatch) -> Document:
    """Change a tenant's policy for future events."""
    operations.set_policy(run, current_actor(), path.tenant_id, _policy_change(body))
    return _shown(path)


@api.post("/tenants/<int:tenant_id>/pause", tags=[TENANTS], responses={200: TenantShown})
@needs("pause")
def pause_tenant(path: TenantPath) -> Document:
    """Pause a tenant's work; its deliveries are still received and recorded."""
    with suppress(operations.NotPaused):
        operations.pause_tenant(run, current_actor(), path.tenant_id)
    return _shown(path)


@api.post("/tenants/<int:tenant_id>/resume", tags=[TENANTS], responses={200: TenantShown})
@needs("pause")
def resume_tenant(path: TenantPath) -> Document:
    """Resume a paused tenant's work; `parked_cause` says if something else stops it.

    A token for one tenant resumes what such a token paused, and not what an operator paused.
    """
    with suppress(operations.NotPaused):
        operations.resume_tenant(run, current_actor(), path.tenant_id)
    return _shown(path)


@api.post("/tenants/<int:tenant_id>/connect-links", tags=[TENANTS], responses={201: ConnectLinkShown, **CONFLICT})
@needs("connect")
def make_connect_link(path: TenantPath, query: LinkQuery) -> tuple[Document, int]:
    """Make the link that connects a tenant; its older links end. The link is shown only once."""
    link = operations.make_connect_link(
        run,
        current_actor(),
        path.tenant_id,
        current_resources().settings,
        valid_for=timedelta(days=query.days),
        company_id=query.company_id,
    )
    return {"url": link.url, "expires_at": _json_value(link.expires_at)}, 201


@api.get("/tenants/<int:tenant_id>/journal", tags=[TENANTS], responses={200: JournalPage})
def list_journal(path: TenantPath, query: JournalQuery) -> Document:
    """List who changed a tenant by command, page, API or consent. For a token of all tenants."""
    require_unbound_token("the journal of a tenant")
    before = number_after(query.after)

    def read(conn: Connection) -> list[JournalEntry]:
        read_tenant(conn, path.tenant_id)
        return tenants.journal(conn, path.tenant_id, limit=query.limit + 1, before_id=before)

    page, following = cut(run(read), query.limit, lambda row: [row.id])
    return {"entries": page, "next": following}


def _shown(path: TenantPath) -> Document:
    return _document(run(lambda conn: read_tenant(conn, path.tenant_id)))


def _policy_change(body: PolicyPatch) -> PolicyChange:
    return tenants.PolicyChange(
        action=None if body.action is None else validated_action(body.action),
        wait_for=body.wait_for,
        only_when_matched=body.only_when_matched,
        fold_plus=body.fold_plus,
        act_within=None if body.act_within_seconds is None else timedelta(seconds=body.act_within_seconds),
        only_inboxes=validated_inboxes(body.only_inboxes) if body.only_inboxes else body.only_inboxes,
        dry_run=body.dry_run,
        act_after=body.act_after,
        max_stored_bytes=body.max_stored_bytes,
        max_events_a_day=body.max_events_a_day,
    )


def _document(found: TenantOverview) -> Document:
    """Write a tenant's document: every field of the schema, times in UTC."""
    values = vars(found) | {"act_within_seconds": int(found.act_within.total_seconds())}
    return {name: _json_value(values[name]) for name in TenantShown.model_fields}


def _json_value(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
