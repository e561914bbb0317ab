"""The routes of endpoints, the URLs of the host application: list and change them, test them, rotate their secrets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ConfigDict, Field

from console.api.blueprint import (
    BODY_PROBLEMS,
    CONFLICT,
    ENDPOINTS,
    api,
    bound_tenant,
    current_actor,
    keep_tenant,
    needs,
    reading,
    require_tenant_in_sight,
    run,
)
from console.api.lists import ListPage, ListQuery, cut, number_after
from console.api.schemas import NumberPath, Parameters, RequestBody, ResponseBody, TenantId
from console.operations import endpoints as operations
from console.web.resources import current_resources
from shared.db.host import endpoints
from shared.db.host.endpoints import Endpoint, NewEndpoint
from shared.host.endpoint_rules import LONGEST_NAME, LONGEST_URL, shown_url
from shared.host.notification import TYPES

MOST_OVERLAP_HOURS = 24 * 30


class EndpointShown(ResponseBody):
    """An endpoint. Its secret is not stored in a form that could be shown."""

    id: int
    tenant_id: int | None
    tenant: str | None
    name: str
    url: str = Field(description="Without its query")
    types: list[str] | None
    include: Literal["text", "html", "none"]
    state: Literal["open", "held"]
    held_cause: Literal["failures", "gone", "disabled", "person"] | None
    held_at: datetime | None
    failures: int = Field(description="In a row")
    failing_since: datetime | None
    last_failure: str | None
    last_success_at: datetime | None
    last_seconds: float | None = Field(description="How long the last answers took")
    waiting: int = Field(description="Notifications that are still to be sent; counted up to 10,001")
    oldest_at: datetime | None = Field(description="When the first of them was noted")
    previous_until: datetime | None = Field(description="Until then the secret before signs as well")
    created_at: datetime
    possible_changes: list[str]


class EndpointPage(ListPage):
    """A page of endpoints."""

    endpoints: list[EndpointShown]


class SecretShown(ResponseBody):
    """An endpoint with its new secret, which is shown only once."""

    endpoint: EndpointShown
    secret: str


class TestStarted(ResponseBody):
    """The task that sends the test; read it until it has ended."""

    task_id: int


class EndpointOrder(RequestBody):
    """An endpoint to add."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "app", "url": "https://app.example.com/mailroom", "tenant_id": None}}
    )

    name: str = Field(min_length=1, max_length=LONGEST_NAME, description="Unique; not a number")
    url: str = Field(
        max_length=LONGEST_URL,
        description="https; it gets a POST for each notification. Or `step:NAME`, a step in the workers",
    )
    tenant_id: TenantId | None = Field(None, description="Only this tenant's notifications; null: those of all")
    types: list[str] | None = Field(
        None,
        max_length=len(TYPES),
        description="Only these types of notifications; null: all but those about single files",
    )
    include: Literal["text", "html", "none"] = Field("text", description="The parts of a message inside a notification")


class RotateQuery(Parameters):
    """The choices of a new secret."""

    overlap_hours: int = Field(24, ge=0, le=MOST_OVERLAP_HOURS, description="So long the secret before signs as well")


@api.get("/endpoints", tags=[ENDPOINTS], responses={200: EndpointPage})
def list_endpoints(query: ListQuery) -> dict[str, Any]:
    """List the endpoints by id. A token of one tenant sees that tenant's own."""
    with reading() as conn:
        after = number_after(query.after) or 0
        rows = endpoints.listed(conn, tenant_id=bound_tenant(), after_id=after, limit=query.limit + 1)
    page, following = cut(rows, query.limit, lambda row: [row.id])
    return {"endpoints": [_shown(each) for each in page], "next": following}


@api.post("/endpoints", tags=[ENDPOINTS], responses={201: SecretShown, **BODY_PROBLEMS, **CONFLICT})
@needs("endpoints")
def add_endpoint(body: EndpointOrder) -> tuple[dict[str, Any], int]:
    """Add an endpoint and show its secret, once. It gets all that happens from now on. Its name is unique."""
    tenant_id = body.tenant_id if body.tenant_id is not None else bound_tenant()
    if tenant_id is not None:
        require_tenant_in_sight(tenant_id)
        run(lambda conn: keep_tenant(conn, tenant_id))
    new = NewEndpoint(name=body.name, url=body.url, tenant_id=tenant_id, types=body.types, include=body.include)
    resources = current_resources()
    networks = resources.settings.endpoint_networks
    return _with_secret(operations.add_endpoint(run, current_actor(), new, resources.vault, networks)), 201


@api.get("/endpoints/<int:number>", tags=[ENDPOINTS], responses={200: EndpointShown})
def show_endpoint(path: NumberPath) -> dict[str, Any]:
    """Show an endpoint: whether it is held, and what waits for it."""
    return _shown(operations.get_endpoint(run, current_actor(), path.number))


@api.delete("/endpoints/<int:number>", tags=[ENDPOINTS], responses={204: None})
@needs("endpoints")
def remove_endpoint(path: NumberPath) -> tuple[str, int]:
    """Remove an endpoint with all that waits for it."""
    operations.remove_endpoint(run, current_actor(), path.number)
    return "", 204


@api.post("/endpoints/<int:number>/test", tags=[ENDPOINTS], responses={200: TestStarted})
@needs("endpoints")
def test_endpoint(path: NumberPath) -> dict[str, Any]:
    """Send the endpoint a `ping`, also while it is held. It is tried once."""
    return {"task_id": operations.test_endpoint(run, current_actor(), path.number)}


@api.post("/endpoints/<int:number>/hold", tags=[ENDPOINTS], responses={200: EndpointShown, **CONFLICT})
@needs("endpoints")
def hold_endpoint(path: NumberPath) -> dict[str, Any]:
    """Let all that is for the endpoint wait, until somebody releases it."""
    return _shown(operations.hold_endpoint(run, current_actor(), path.number))


@api.post("/endpoints/<int:number>/release", tags=[ENDPOINTS], responses={200: EndpointShown, **CONFLICT})
@needs("endpoints")
def release_endpoint(path: NumberPath) -> dict[str, Any]:
    """Send a held endpoint what waits for it, the oldest first."""
    return _shown(operations.release_endpoint(run, current_actor(), path.number))


@api.post("/endpoints/<int:number>/rotate", tags=[ENDPOINTS], responses={200: SecretShown})
@needs("endpoints")
def rotate_secret(path: NumberPath, query: RotateQuery) -> dict[str, Any]:
    """Give the endpoint a new secret and show it, once."""
    overlap = timedelta(hours=query.overlap_hours)
    vault = current_resources().vault
    return _with_secret(operations.rotate_secret(run, current_actor(), path.number, vault, overlap=overlap))


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    hidden = {"not_before", "probe_at"}
    values = {name: value for name, value in vars(endpoint).items() if name not in hidden}
    return {**values, "url": shown_url(endpoint.url), "possible_changes": operations.possible_changes(endpoint)}


def _with_secret(new: operations.NewSecret) -> dict[str, Any]:
    return {"endpoint": _shown(new.endpoint), "secret": new.secret}
