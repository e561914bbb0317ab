"""The tenants: who is connected, what waits for whom, one tenant with its policy, and the comparison with Front."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from flask import abort, flash, redirect, request, url_for

from console.operations import tenants as operations
from console.remedies import REMEDIES
from console.times import parse_duration, parse_since, typed_duration
from console.web.pages.shell import PAGE_SIZE, address, current_actor, page, reading, render
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared.actions import validated_action, validated_inboxes
from shared.db.reading import activity, repairs, status
from shared.db.tenants import tenants
from shared.db.tenants.tenants import PolicyChange
from shared.errors import ConfigurationError, InvalidPolicy
from shared.models import QUOTAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue

    from shared.db.reading.repairs import RepairView

JOURNAL_ROWS = 20
ONE_HOUR = timedelta(hours=1)
MIB = 2**20
MOST_HOURS = 14 * 24  # in the strips of a repair
WAITS = {
    "stored": "until every file of the conversation is stored",
    "settled": "until no file of the conversation is under way; trash waits until all are stored",
}
AFTERS = {
    "files": "for nothing else",
    "notified": "until your application has taken the message",
}


class ComparedHour(NamedTuple):
    """An hour of a repair: the events that Front lists, and those of them that no webhook brought."""

    hour: datetime
    seen: int
    missing: int


@page("/tenants")
def tenants_page() -> ResponseReturnValue:
    """List the tenants in the order in which they were added."""
    after = request.args.get("after", 0, type=int)
    with reading() as conn:
        rows = tenants.page(conn, after=after, limit=PAGE_SIZE)
        waiting = status.waiting_tasks(conn)
        lately = activity.tenant_activity(conn, [row.id for row in rows], datetime.now(UTC))
    older = address(after=rows[-1].id) if len(rows) == PAGE_SIZE else None
    return render(
        "pages/tenants.html",
        title="Tenants",
        section="Tenants",
        rows=rows,
        waiting=waiting,
        lately=lately,
        older=older,
    )


@page("/tenants/<int:number>")
def tenant_page(number: int) -> ResponseReturnValue:
    """Show a tenant: its connection, its policy, what waits, and who changed what."""
    return _tenant_page(number)


@page("/tenants/<int:number>/pause", verb="pause", methods=("POST",))
def pause_tenant(number: int) -> ResponseReturnValue:
    """Stop a tenant's work."""
    run, actor = current_resources().pool.run, current_actor()
    return _changed(number, lambda: operations.pause_tenant(run, actor, number))


@page("/tenants/<int:number>/resume", verb="pause", methods=("POST",))
def resume_tenant(number: int) -> ResponseReturnValue:
    """Release a paused tenant's work."""
    run, actor = current_resources().pool.run, current_actor()
    return _changed(number, lambda: operations.resume_tenant(run, actor, number))


@page("/tenants/<int:number>/link", verb="connect", methods=("POST",))
def make_connect_link(number: int) -> ResponseReturnValue:
    """Make a link with which an admin of the customer connects Front, and show it once."""
    resources = current_resources()
    try:
        made = operations.make_connect_link(resources.pool.run, current_actor(), number, resources.settings)
    except operations.UnknownTenant:
        abort(404)
    except ConfigurationError as refusal:
        return problem_page(409, "No link can be made yet", f"{refusal}.", again=url_for("pages.tenants_page"))
    return _tenant_page(number, link=made.url)


@page("/tenants/<int:number>/policy", verb="policy", methods=("POST",))
def set_policy(number: int) -> ResponseReturnValue:
    """Change what is done with a tenant's future mail."""
    run, actor = current_resources().pool.run, current_actor()
    try:
        change = _policy_of_the_form()
    except (InvalidPolicy, ValueError) as mistake:
        return _tenant_page(number, refusal=str(mistake), status_code=422)
    return _changed(number, lambda: operations.set_policy(run, actor, number, change))


@page("/parked")
def parked_page() -> ResponseReturnValue:
    """List what waits for a person, by cause and by tenant."""
    after = request.args.get("after", 0, type=int)
    with reading() as conn:
        causes = status.parked_work(conn)
        rows = status.parked_tenants(conn, limit=PAGE_SIZE, after_id=after)
        companies = status.unknown_companies(conn, limit=PAGE_SIZE)
    return render(
        "pages/parked.html",
        title="Parked",
        section="Parked",
        causes=causes,
        remedies=REMEDIES,
        rows=rows,
        older=address(after=rows[-1].tenant_id) if len(rows) == PAGE_SIZE else None,
        companies=companies,
    )


@page("/parked", verb="connect", methods=("POST",))
def connect_parked_company() -> ResponseReturnValue:
    """Add a tenant for a company whose mail is parked, and make the link that connects it."""
    run, actor, form = current_resources().pool.run, current_actor(), request.form
    name, company_id = form.get("name", "").strip(), form.get("company", "").strip()
    place = url_for("pages.parked_page")
    if not (tenants.is_name(name) and company_id.startswith("cmp_")):
        return problem_page(422, "The tenant was not added", "Give it a name of at most 200 characters.", again=place)
    try:
        added = operations.add_tenant(run, actor, name, company_id, customer=None)
    except tenants.TenantTaken as refusal:
        return problem_page(409, "The tenant was not added", f"{refusal}.", again=place)
    return make_connect_link(added.id)


@page("/repair")
def repair_page() -> ResponseReturnValue:
    """Show which comparisons with Front's event list run, and which found gaps."""
    return _repair_page()


@page("/repair", verb="repair", methods=("POST",))
def request_repair() -> ResponseReturnValue:
    """Ask for a comparison with Front's event list."""
    try:
        since = parse_since(request.form.get("since", ""), datetime.now(UTC))
    except (ValueError, OverflowError) as mistake:
        return _repair_page(refusal=str(mistake), status_code=422)
    tenant_id = request.form.get("tenant", 0, type=int)
    try:
        operations.request_repair(
            current_resources().pool.run, current_actor(), tenant_id, since=since, dry_run="dry_run" in request.form
        )
    except operations.UnknownTenant:
        abort(404)
    except operations.NothingReceived as refusal:
        return _repair_page(refusal=str(refusal), status_code=409)
    flash("The comparison begins within seconds.")
    return redirect(url_for("pages.repair_page"), 303)


def _tenant_page(
    number: int, *, link: str | None = None, refusal: str | None = None, status_code: int = 200
) -> ResponseReturnValue:
    with reading() as conn:
        found = tenants.get(conn, number)
        if found is None:
            abort(404)
        journal = tenants.journal(conn, number, limit=JOURNAL_ROWS)
        waiting = status.waiting_tasks(conn).get(found.name, 0)
        lately = activity.tenant_activity(conn, [number], datetime.now(UTC))[number]
        matches = activity.match_rate(conn, number)
    return render(
        "pages/tenant.html",
        title=found.name,
        section="Tenants",
        status=status_code,
        tenant=found,
        journal=journal,
        waiting=waiting,
        lately=lately,
        matches=matches,
        budget=current_resources().lookups.budget_of(found.company_id) if found.company_id else None,
        link=link,
        refusal=refusal,
        waits=WAITS,
        afters=AFTERS,
        quotas=QUOTAS,
        quota_mib=None if found.max_stored_bytes is None else -(-found.max_stored_bytes // MIB),
        act_within=typed_duration(found.act_within),
    )


def _repair_page(*, refusal: str | None = None, status_code: int = 200) -> ResponseReturnValue:
    with reading() as conn:
        rows = repairs.latest(conn, limit=PAGE_SIZE)
        choices = repairs.repairable_tenants(conn, None)
    return render(
        "pages/repair.html",
        title="Repair",
        section="Repair",
        status=status_code,
        rows=rows,
        strips={row.id: _strip(row) for row in rows},
        choices=choices,
        refusal=refusal,
    )


def _strip(repair: RepairView) -> list[ComparedHour]:
    """Return the hours that a repair compared, the oldest first, with those in which Front lists nothing."""
    try:
        counts = {datetime.fromisoformat(hour): counts for hour, counts in repair.hours.items()}
    except ValueError:
        return []
    if not counts:
        return []
    first, last = min(counts), max(counts)
    hours = min(MOST_HOURS, (last - first) // ONE_HOUR + 1)
    every = [last - ONE_HOUR * back for back in reversed(range(hours))]
    return [ComparedHour(hour, *counts.get(hour, (0, 0))) for hour in every]


def _changed(number: int, change: Callable[[], None]) -> ResponseReturnValue:
    place = url_for("pages.tenant_page", number=number)
    try:
        change()
    except operations.UnknownTenant:
        abort(404)
    except (operations.NotPaused, InvalidPolicy) as refusal:
        return problem_page(409, "That cannot be done now", f"{refusal}.", again=place)
    flash("Done.")
    return redirect(place, 303)


def _policy_of_the_form() -> PolicyChange:
    """Return the policy of the form, which names all parts. Raises InvalidPolicy, ValueError."""
    form = request.form
    action = form.get("action", "none")
    inboxes = form.get("only_inboxes", "").split()
    wait_for = form.get("wait_for", "stored")
    if wait_for not in WAITS:
        raise ValueError(f"there is no way of waiting {wait_for!r}")
    act_after = form.get("act_after", "files")
    if act_after not in AFTERS:
        raise ValueError(f"nothing can be waited for as {act_after!r}")
    return PolicyChange(
        action=validated_action(f"tag:{form.get('tag', '').strip()}" if action == "tag" else action),
        wait_for=wait_for,
        only_when_matched="only_when_matched" in form,
        fold_plus="fold_plus" in form,
        act_within=parse_duration(form.get("act_within", "7d")),
        only_inboxes=validated_inboxes(inboxes) if inboxes else [],
        dry_run="dry_run" in form,
        act_after="notified" if act_after == "notified" else "files",
        max_stored_bytes=_whole_number("max_stored_mib", 2**40) * MIB,
        max_events_a_day=_whole_number("max_events_a_day", 10**12),
    )


def _whole_number(name: str, most: int) -> int:
    """Return a number of the form; 0 where nothing is given. Raises ValueError."""
    text = request.form.get(name, "").strip() or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ValueError(f"{text!r} is no whole number up to {most:,}")
    return int(text)
