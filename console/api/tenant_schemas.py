"""Tenants as the API takes and shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from console.api.schemas import BIGGEST_ID, Answer, Body, Parameters
from shared.db.tenants import LONGEST_NAME

LONGEST_PAGE = 500
TEN_YEARS = 3_650 * 86_400  # seconds

Action = Annotated[str, Field(description="none, archive, trash or tag:TAG_ID")]
WaitFor = Annotated[
    Literal["stored", "settled"], Field(description="Which files an archive or tag waits for; trash waits for all")
]
Seconds = Annotated[int, Field(ge=1, le=TEN_YEARS, description="Act only on events younger than this")]


class TenantsQuery(Parameters):
    """A page of tenants, by id."""

    limit: int = Field(100, ge=1, le=LONGEST_PAGE)
    after: int = Field(0, ge=0, le=BIGGEST_ID, description="`next` of the page before")


class NewTenant(Body):
    """A customer that is to be connected."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Acme", "company_id": "cmp_4k2p9"}})

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME)]
    company_id: Annotated[str, StringConstraints(pattern=r"^cmp_[A-Za-z0-9]{1,60}\z"), Field(description="Front's id")]


class PolicyPatch(Body):
    """The parts of a tenant's policy to change for future events; what is left out or null stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"action": "archive", "act_within_seconds": 604800}})

    action: Action | None = None
    wait_for: WaitFor | None = None
    only_when_matched: bool | None = Field(None, description="Whether a recipient must be a user")
    fold_plus: bool | None = Field(None, description="Whether jane+bills@… is jane@…")
    act_within_seconds: Seconds | None = None


class TenantShown(Answer):
    """A tenant."""

    id: int
    name: str
    company_id: str | None = Field(description="Front's id; null until connected")
    connection: Literal["oauth", "api_token"] | None
    connected_at: datetime | None
    parked_cause: str | None = Field(description="What stands against its work: paused, needs_reconnect, missing_scope")
    parked_at: datetime | None
    users: int
    action: str
    wait_for: str
    only_when_matched: bool
    fold_plus: bool
    act_within_seconds: int


class TenantPage(Answer):
    """A page of tenants."""

    tenants: list[TenantShown]
    next: int | None = Field(description="Where the next page begins; null: this is the last")
