"""The simulator: make up webhooks, whole or odd, and follow each of them. It exists in development only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import abort, request

from console import sandbox_control
from console.operations.audited import Change, carry_out
from console.sandbox_control import NoSandbox, SandboxAway, SandboxRefused
from console.web.pages.shell import current_actor, page, render
from console.web.resources import current_resources
from shared.errors import MailroomError

if TYPE_CHECKING:
    from typing import Any

    from flask.typing import ResponseReturnValue

MOST_AT_ONCE = 100
SEND_SECONDS = 20.0


@page("/simulator", verb="simulate")
def simulator_page() -> ResponseReturnValue:
    """Show the form."""
    return _page()


@page("/simulator", verb="simulate", methods=("POST",))
def simulate() -> ResponseReturnValue:
    """Send the webhooks of the form, and show the door's answer to each."""
    order, settings = _order(), current_resources().settings
    change = Change(verb="simulate", target=f"{order['count']} × {order['type']}", after={"fault": order.get("fault")})
    carry_out(current_resources().pool.run, current_actor(), change, lambda _: None)
    try:
        return _page(sent=sandbox_control.send(settings, order, seconds=SEND_SECONDS))
    except (SandboxAway, NoSandbox, SandboxRefused) as refusal:
        return _page(refusal=refusal, status=422)


def _order() -> dict[str, Any]:
    form = request.form
    handles = form.get("to", "").replace(",", " ").split()
    order = {
        "type": form.get("type", "inbound_received"),
        "company": form.get("company", ""),
        "count": max(1, min(MOST_AT_ONCE, form.get("count", 1, type=int))),
        "attachments": max(0, min(10, form.get("attachments", 0, type=int))) or None,
        "recipients": [{"handle": handle, "role": "to"} for handle in handles] or None,
        "fault": form.get("fault") or None,
    }
    return {name: value for name, value in order.items() if value is not None}


def _page(
    *, sent: list[dict[str, Any]] | None = None, refusal: MailroomError | None = None, status: int = 200
) -> ResponseReturnValue:
    settings = current_resources().settings
    if settings.mailroom_env == "production":
        abort(404)
    from sandbox.models import EVENT_TYPES  # noqa: PLC0415 -- the image for production has no sandbox
    from sandbox.send_request import WEBHOOK_FAULTS  # noqa: PLC0415

    try:
        companies = sandbox_control.companies(settings)
    except (SandboxAway, NoSandbox) as away:
        companies, refusal = [], away
    return render(
        "pages/simulator.html",
        title="Simulator",
        section="Simulator",
        status=status,
        sent=sent,
        refusal=str(refusal) if refusal else None,
        companies=companies,
        types=sorted(EVENT_TYPES),
        faults=sorted(WEBHOOK_FAULTS),
        given=request.form,
    )
