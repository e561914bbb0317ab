"""The routes of repairs: comparisons with Front's own list of events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from console.api.blueprint import (
    BODY_PROBLEMS,
    CONFLICT,
    REPAIRS,
    api,
    bound_tenant,
    current_actor,
    needs,
    reading,
    require_tenant_in_sight,
    run,
)
from console.api.idempotency import IdempotencyHeader, once
from console.api.lists import ListPage, ListQuery, cut, number_after
from console.api.schemas import RequestBody, ResponseBody, TenantId
from console.operations import tenants as operations
from console.operations.audited import Run
from console.times import parse_since
from shared.db.reading import repairs
from shared.db.reading.repairs import RepairableTenant, RepairView

MOST_TENANTS = 1_000


def _is_moment(value: str) -> str:
    parse_since(value, datetime.now(UTC))
    return value


Moment = Annotated[str, AfterValidator(_is_moment)]


class RepairsQuery(ListQuery):
    """A page of repairs, the latest first."""

    ids: str | None = Field(
        None, pattern=r"^\d{1,18}(,\d{1,18})*$", max_length=20_000, description="Only these: numbers with commas"
    )


class RepairPage(ListPage):
    """A page of repairs."""

    repairs: list[RepairView]


class Candidates(ResponseBody):
    """The connected tenants; the repair of one that is parked waits."""

    tenants: list[RepairableTenant]


class RepairOrder(RequestBody):
    """A comparison with Front's list of events."""

    model_config = ConfigDict(json_schema_extra={"example": {"tenant_ids": [1], "since": "6h", "dry_run": True}})

    tenant_ids: list[TenantId] = Field(min_length=1, max_length=MOST_TENANTS, description="The tenants to compare")
    since: Moment = Field(max_length=40, description="Compare from then on: 6h, 2d or a time")
    dry_run: bool = Field(default=False, description="Only count what is missing")


class RepairsAsked(ResponseBody):
    """The repairs that were asked for, one for each tenant."""

    repair_ids: list[int]


class StopOrder(RequestBody):
    """Which repairs to stop."""

    model_config = ConfigDict(json_schema_extra={"example": {"tenant_id": 1}})

    tenant_id: TenantId | None = Field(None, description="Those of this tenant; null: of all that the token sees")


class Stopped(ResponseBody):
    """How many repairs were stopped."""

    stopped: int


@api.get("/repairs", tags=[REPAIRS], responses={200: RepairPage})
def list_repairs(query: RepairsQuery) -> dict[str, Any]:
    """List the latest repairs that are open, failed or found a gap, and those that somebody asked for."""
    before = number_after(query.after)
    with reading() as conn:
        if query.ids is not None:
            found = repairs.repairs_by_id(conn, [int(each) for each in query.ids.split(",")], tenant_id=bound_tenant())
            return {"repairs": found, "next": None}
        rows = repairs.latest(conn, limit=query.limit + 1, tenant_id=bound_tenant(), before_id=before)
    page, following = cut(rows, query.limit, lambda row: [row.id])
    return {"repairs": page, "next": following}


@api.get("/repairs/candidates", tags=[REPAIRS], responses={200: Candidates})
def list_candidates() -> dict[str, Any]:
    """List the tenants that can be compared with Front."""
    with reading() as conn:
        return {"tenants": repairs.repairable_tenants(conn, bound_tenant())}


@api.post("/repairs", tags=[REPAIRS], responses={201: RepairsAsked, **BODY_PROBLEMS, **CONFLICT})
@needs("repair")
def request_repairs(header: IdempotencyHeader, body: RepairOrder) -> tuple[dict[str, Any], int]:
    """Ask for a comparison of each of these tenants. The workers do it with what is free of Front's rate limit."""
    for tenant_id in body.tenant_ids:
        require_tenant_in_sight(tenant_id)
    since = parse_since(body.since, datetime.now(UTC))

    def request(run: Run) -> dict[str, Any]:
        asked: Sequence[int] = [
            operations.request_repair(run, current_actor(), tenant_id, since=since, dry_run=body.dry_run)
            for tenant_id in dict.fromkeys(body.tenant_ids)
        ]
        return {"repair_ids": asked}

    return once(header, request)


@api.post("/repairs/stop", tags=[REPAIRS], responses={200: Stopped, **BODY_PROBLEMS})
@needs("repair")
def stop_repairs(body: StopOrder) -> dict[str, Any]:
    """Stop repairs that wait or run; what was fed stays."""
    if body.tenant_id is not None:
        require_tenant_in_sight(body.tenant_id)
    return {"stopped": operations.stop_repairs(run, current_actor(), body.tenant_id)}
