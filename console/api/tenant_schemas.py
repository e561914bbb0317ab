"""Tenants as the API takes and shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from console.api.schemas import BIGGEST_ID, Answer, Body, Parameters
from console.naming import is_name
from shared.db.tenants import LONGEST_NAME
from shared.front.ids import COMPANY

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
