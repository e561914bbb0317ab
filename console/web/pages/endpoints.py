"""The endpoints of the host application: all of them, and one with its state, its secret and what is sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import abort, flash, redirect, request, url_for

from console.operations import endpoints as operations
from console.web.pages.shell import PAGE_SIZE, address, back, current_actor, page, reading, render
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared.db.host import endpoints
from shared.db.host.endpoints import NewEndpoint
from shared.db.reading import tasks
from shared.db.reading.filters import Filter
from shared.db.tenants import tenants
from shared.errors import StoreUnavailable
from shared.host.endpoint_rules import BadEndpoint, shown_url
from shared.host.notification import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue

    from shared.db.host.endpoints import Endpoint

LATEST = 20
#: Why an endpoint is held, and what follows.
CAUSES = {
    "failures": "It failed five times in a row. From time to time a notification tries it; the first 2xx opens it.",
    "gone": "It answered 410. Somebody has to release it.",
    "disabled": "It asked for no more notifications. Somebody has to release it.",
    "person": "A person held it. Somebody has to release it.",
}
INCLUDES = {"text": "the text", "html": "text and HTML", "none": "neither text nor HTML"}


@page("/endpoints")
def endpoints_page() -> ResponseReturnValue:
    """List the endpoints."""
    return _endpoints_page()


@page("/endpoints", verb="endpoints", methods=("POST",))
def add_endpoint() -> ResponseReturnValue:
    """Add an endpoint, and show its secret once."""
    resources, form = current_resources(), request.form
    include = form.get("include", "text")
    if include not in INCLUDES:
        abort(422)
    new = NewEndpoint(
        name=form.get("name", ""),
        url=form.get("url", ""),
        tenant_id=form.get("tenant", type=int),
        types=form.getlist("type") or None,
        include=include,  # type: ignore[arg-type]  # one of INCLUDES
    )
    try:
        added = operations.add_endpoint(
            resources.pool.run, current_actor(), new, resources.vault, resources.settings.endpoint_networks
        )
    except (BadEndpoint, endpoints.EndpointTaken) as refusal:
        return _endpoints_page(refusal=str(refusal), status=422)
    return _endpoint_page(added.endpoint.id, secret=added.secret)


@page("/endpoints/<int:number>")
def endpoint_page(number: int) -> ResponseReturnValue:
    """Show an endpoint: whether it is held, what waits, and what was sent last."""
    return _endpoint_page(number)


@page("/endpoints/<int:number>/hold", verb="endpoints", methods=("POST",))
def hold_endpoint(number: int) -> ResponseReturnValue:
    """Let everything for the endpoint wait."""
    run, actor = current_resources().pool.run, current_actor()
    return _changed(number, lambda: f"{operations.hold_endpoint(run, actor, number).name} is held now.")


@page("/endpoints/<int:number>/release", verb="endpoints", methods=("POST",))
def release_endpoint(number: int) -> ResponseReturnValue:
    """Send what waited, the oldest first."""
    run, actor = current_resources().pool.run, current_actor()
    return _changed(number, lambda: f"{operations.release_endpoint(run, actor, number).name} is open again.")


@page("/endpoints/<int:number>/test", verb="endpoints", methods=("POST",))
def test_endpoint(number: int) -> ResponseReturnValue:
    """Send a `ping`, and lead to the task that sends it."""
    run, actor = current_resources().pool.run, current_actor()
    try:
        task_id = operations.test_endpoint(run, actor, number)
    except operations.UnknownEndpoint:
        abort(404)
    except StoreUnavailable as exc:
        return problem_page(503, "The test is not sent yet", f"{exc}.", again=url_for("pages.endpoints_page"))
    return redirect(url_for("pages.task_page", number=task_id), 303)


@page("/endpoints/<int:number>/rotate", verb="endpoints", methods=("POST",))
def rotate_secret(number: int) -> ResponseReturnValue:
    """Make a new secret, and show it once."""
    resources = current_resources()
    try:
        made = operations.rotate_secret(resources.pool.run, current_actor(), number, resources.vault)
    except operations.UnknownEndpoint:
        abort(404)
    return _endpoint_page(number, secret=made.secret)


@page("/endpoints/<int:number>/remove", verb="endpoints", methods=("POST",))
def remove_endpoint(number: int) -> ResponseReturnValue:
    """Remove an endpoint, if its name was typed."""
    run, actor = current_resources().pool.run, current_actor()
    try:
        found = operations.get_endpoint(run, actor, number)
        if request.form.get("name", "").strip() != found.name:
            return _endpoint_page(number, refusal="the name that was typed is another one", status=422)
        operations.remove_endpoint(run, actor, number)
    except operations.UnknownEndpoint:
        abort(404)
    flash(f"{found.name} is removed.")
    return redirect(url_for("pages.endpoints_page"), 303)


def _changed(number: int, change: Callable[[], str]) -> ResponseReturnValue:
    place = url_for("pages.endpoint_page", number=number)
    try:
        flash(change())
    except operations.UnknownEndpoint:
        abort(404)
    except operations.EndpointMovedOn as refusal:
        return problem_page(409, "That changed meanwhile", f"{refusal}.".capitalize(), again=place)
    return back(place)


def _endpoints_page(*, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    after = request.args.get("after", 0, type=int)
    with reading() as conn:
        rows = endpoints.listed(conn, after_id=after, limit=PAGE_SIZE)
        choices = tenants.page(conn, after=0, limit=PAGE_SIZE)
    return render(
        "pages/endpoints.html",
        title="Endpoints",
        section="Endpoints",
        status=status,
        rows=rows,
        urls=_shown_urls(rows),
        tenants=choices,
        types=TYPES,
        includes=INCLUDES,
        refusal=refusal,
        form=request.form,
        older=address(after=rows[-1].id) if len(rows) == PAGE_SIZE else None,
    )


def _endpoint_page(
    number: int, *, secret: str | None = None, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    with reading() as conn:
        found = endpoints.get(conn, number)
        if found is None:
            abort(404)
        rows = tasks.latest(conn, Filter(endpoint=number), limit=LATEST)
    return render(
        "pages/endpoint.html",
        title=found.name,
        section="Endpoints",
        status=status,
        endpoint=found,
        url=shown_url(found.url),
        cause=CAUSES.get(found.held_cause or ""),
        include=INCLUDES[found.include],
        rows=rows,
        secret=secret,
        refusal=refusal,
        changes=operations.possible_changes(found),
    )


def _shown_urls(rows: list[Endpoint]) -> dict[int, str]:
    return {each.id: shown_url(each.url) for each in rows}
