"""The routes of data subject requests: what is held of one e-mail address, and its erasure.

The address is in the body of each request, because addresses of requests are written into logs.
"""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import ConfigDict, Field

from console.api.blueprint import (
    ADDRESSES,
    BODY_PROBLEMS,
    CONFLICT,
    api,
    bound_tenant,
    current_actor,
    needs,
    reading,
    reads,
    run,
)
from console.api.lists import ListPage, ListQuery, cut, number_after, place_after
from console.api.schemas import NumberPath, RequestBody, ResponseBody, SoughtText, TenantId
from console.operations import addresses as operations
from console.operations.addresses import VERB, ExportsBusy
from console.web.resources import current_resources
from shared.addresses import MAX_LENGTH
from shared.db.tenants import address_erasures
from shared.db.tenants.address_erasures import Erasure, Item
from shared.text import clean


class AddressOrder(RequestBody):
    """An e-mail address, of one tenant or of all."""

    model_config = ConfigDict(json_schema_extra={"example": {"address": "jane@example.com", "tenant_id": 1}})

    address: SoughtText = Field(max_length=MAX_LENGTH, description="The e-mail address, in any spelling")
    tenant_id: TenantId | None = Field(None, description="Only what this tenant has; null: all that the token sees")


class ErasureShown(ResponseBody):
    """An erasure, and what it did so far: events and rows by outcome (cut, masked, deleted, open)."""

    erasure: Erasure
    outcomes: dict[str, int]


class ErasurePage(ListPage):
    """A page of erasures."""

    erasures: list[Erasure]


class ErasedPlaces(ListPage):
    """A page of the events and tables that had an address, with what became of each."""

    items: list[Item]


@api.post(
    "/addresses/export",
    tags=[ADDRESSES],
    responses={
        200: {"description": "One JSON document", "content": {"application/json": {"schema": {"type": "object"}}}},
        **BODY_PROBLEMS,
    },
)
@needs(VERB)
def export_address(body: AddressOrder) -> Response:
    """Return all that is held of an address: users, rows, events with bodies and notifications. It is streamed.

    Files are in the events' documents by number; `/attachments/<number>/content` has their bytes.
    """
    resources = current_resources()
    slots = resources.export_slots
    if not slots.acquire(blocking=False):
        raise ExportsBusy("other exports are running; try again when one of them has ended")
    try:
        # The document is made after the view has ended, without the application's context.
        pieces = operations.export(
            resources.pool.run, current_actor(), body.address, body.tenant_id, resources.settings
        )
    except BaseException:
        slots.release()
        raise
    response = Response(pieces, mimetype="application/json")
    response.call_on_close(slots.release)
    return response


@api.post("/addresses/erasures", tags=[ADDRESSES], responses={202: ErasureShown, **BODY_PROBLEMS, **CONFLICT})
@needs(VERB)
def erase_address(body: AddressOrder) -> tuple[dict[str, Any], int]:
    """Erase an address from all that was received until now. Workers carry it out; the answer has its number.

    Messages that it wrote or got lose their content and files. Elsewhere a mask takes its place. Asked twice, an
    erasure that has not begun is the same one.
    """
    resources = current_resources()
    number = operations.request_erasure(run, current_actor(), body.address, body.tenant_id, resources.settings)
    return vars(operations.get_erasure(run, current_actor(), number)), 202


@api.get("/addresses/erasures", tags=[ADDRESSES], responses={200: ErasurePage})
@reads(VERB)
def list_erasures(query: ListQuery) -> dict[str, Any]:
    """List the latest erasures. A token of one tenant sees those of that tenant."""
    with reading() as conn:
        before = number_after(query.after)
        rows = address_erasures.latest(conn, limit=query.limit + 1, before_id=before, tenant_id=bound_tenant())
    page, following = cut(rows, query.limit, lambda row: [row.id])
    return {"erasures": page, "next": following}


@api.get("/addresses/erasures/<int:number>", tags=[ADDRESSES], responses={200: ErasureShown})
@reads(VERB)
def show_erasure(path: NumberPath) -> dict[str, Any]:
    """Show an erasure: how far it is, and what it did."""
    return vars(operations.get_erasure(run, current_actor(), path.number))


@api.get("/addresses/erasures/<int:number>/items", tags=[ADDRESSES], responses={200: ErasedPlaces})
@reads(VERB)
def list_erased_places(path: NumberPath, query: ListQuery) -> dict[str, Any]:
    """List the events and tables that had the address, with what became of each."""
    operations.get_erasure(run, current_actor(), path.number)
    [after] = place_after(query.after, str) or [""]
    with reading() as conn:
        rows = address_erasures.items(conn, path.number, limit=query.limit + 1, after=clean(after, MAX_LENGTH))
    page, following = cut(rows, query.limit, lambda row: [row.place])
    return {"items": page, "next": following}
