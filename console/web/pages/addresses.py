"""Data subject requests: export what is held of one e-mail address, and erase it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Response, flash, redirect, request, url_for

from console.operations import addresses as operations
from console.operations.addresses import VERB, AddressOfAccount, UnknownErasure
from console.web.pages.shell import PAGE_SIZE, address, current_actor, page, reading, render
from console.web.problems import RETRY_AFTER, problem_page
from console.web.resources import current_resources
from shared.db.tenants import address_erasures, tenants
from shared.subject_address import NotAnAddress

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

MOST_PLACES = 200


@page("/addresses", verb=VERB)
def addresses_page() -> ResponseReturnValue:
    """List the latest erasures, with the forms for an export and an erasure."""
    return _addresses_page()


@page("/addresses/export", verb=VERB, methods=("POST",))
def export_address() -> ResponseReturnValue:
    """Download all that is held of an address."""
    resources = current_resources()
    if not resources.export_slots.acquire(blocking=False):
        busy = problem_page(503, "Other exports are running", "Wait until one of them has ended, and try again.")
        busy.headers["Retry-After"] = str(RETRY_AFTER)
        return busy
    try:
        pieces = operations.export(
            resources.pool.run, current_actor(), request.form.get("address", ""), _tenant_id(), resources.settings
        )
    except NotAnAddress as refusal:
        resources.export_slots.release()
        return _addresses_page(refusal=str(refusal), status=422)
    except BaseException:
        resources.export_slots.release()
        raise
    response = Response(pieces, mimetype="application/json")
    response.headers["Content-Disposition"] = (
        f'attachment; filename="mailroom-address-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"'
    )
    response.call_on_close(resources.export_slots.release)
    return response


@page("/addresses/erase", verb=VERB, methods=("POST",))
def erase_address() -> ResponseReturnValue:
    """Ask for the erasure of an address that was typed twice."""
    resources, form = current_resources(), request.form
    given = form.get("address", "").strip()
    if given != form.get("again", "").strip():
        return _addresses_page(refusal="the two addresses differ; nothing was changed", status=422)
    try:
        number = operations.request_erasure(
            resources.pool.run, current_actor(), given, _tenant_id(), resources.settings
        )
    except NotAnAddress as refusal:
        return _addresses_page(refusal=str(refusal), status=422)
    except AddressOfAccount as refusal:
        return _addresses_page(refusal=str(refusal), status=409)
    flash("Workers erase the address now.")
    return redirect(url_for("pages.erasure_page", number=number), 303)


@page("/addresses/<int:number>", verb=VERB)
def erasure_page(number: int) -> ResponseReturnValue:
    """Show an erasure: how far it is, and what it did."""
    try:
        found = operations.get_erasure(current_resources().pool.run, current_actor(), number)
    except UnknownErasure:
        return problem_page(404, "There is no such erasure", "It went with its tenant, or never was.")
    with reading() as conn:
        places = address_erasures.items(conn, number, limit=MOST_PLACES + 1)
    return render(
        "pages/erasure.html",
        title=f"Erasure {number}",
        section="Addresses",
        erasure=found.erasure,
        outcomes=found.outcomes,
        places=places[:MOST_PLACES],
        has_more=len(places) > MOST_PLACES,
    )


def _addresses_page(*, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    before = request.args.get("before", type=int)
    with reading() as conn:
        rows = address_erasures.latest(conn, limit=PAGE_SIZE, before_id=before)
        all_tenants = tenants.list_all(conn)
    older = address(before=rows[-1].id) if len(rows) == PAGE_SIZE else None
    return render(
        "pages/addresses.html",
        title="Addresses",
        section="Addresses",
        status=status,
        rows=rows,
        tenants=all_tenants,
        refusal=refusal,
        older=older,
    )


def _tenant_id() -> int | None:
    return request.form.get("tenant", type=int)
