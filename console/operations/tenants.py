"""Change a tenant: pause and resume it, set its policy, make its connect link, ask for a repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from console.issued_secrets import LINK_VALID_FOR, NewLink, new_link
from console.operations.audited import Change, Run, carry_out
from shared.actions import validate_wait_for
from shared.db import repairs
from shared.db.recording.statements import seen_types
from shared.db.tenants import quotas, tenants
from shared.errors import MailroomError

if TYPE_CHECKING:
    from console.access.actor import Actor
    from shared.db.core.pool import Connection
    from shared.db.tenants.tenants import Pauser, PolicyChange, TenantOverview
    from shared.settings import Settings


class UnknownTenant(MailroomError):
    """There is no such tenant, or the actor may not see it."""

    code = "unknown_tenant"


class PausedByOperator(MailroomError):
    """An operator paused the tenant; only a token for every tenant, or the operator's command, resumes it."""

    code = "paused_by_operator"


class NothingReceived(MailroomError):
    """No webhook was received yet: which events to compare is learned from them."""

    code = "nothing_received"


class QuotaOfOperator(MailroomError):
    """A quota is set by those who run Mailroom, and not with a token of the tenant's own."""

    code = "quota_of_operator"


class NotPaused(MailroomError):
    """The tenant cannot be paused or resumed as it is."""

    code = "not_paused"


def add_tenant(run: Run, actor: Actor, name: str, company_id: str | None, *, customer: str | None) -> TenantOverview:
    """Add a tenant, which waits for its connection. Raises NotAllowed, TenantTaken."""
    change = Change(verb="connect", target="a new tenant", after={"name": name, "company_id": company_id})

    def work(conn: Connection) -> TenantOverview:
        tenants.act_as(conn, actor.signature)
        tenant_id = tenants.add(conn, name, company_id, customer=customer)
        change.target, change.tenant_id = f"tenant {tenant_id}", tenant_id
        return _read(conn, tenant_id)

    return carry_out(run, actor, change, work)


def pause_tenant(run: Run, actor: Actor, tenant_id: int) -> None:
    """Stop a tenant's work; its deliveries are still received. Raises NotAllowed, UnknownTenant, NotPaused."""

    def work(conn: Connection, found: TenantOverview) -> None:
        if not tenants.pause(conn, tenant_id, by=_pauser(actor)):
            raise NotPaused(f"{found.name} is {found.parked_cause} already")

    _change(run, actor, "pause", tenant_id, work)


def resume_tenant(run: Run, actor: Actor, tenant_id: int) -> None:
    """Release a paused tenant's work. Raises NotAllowed, UnknownTenant, NotPaused, PausedByOperator."""

    def work(conn: Connection, found: TenantOverview) -> None:
        if found.paused_by == "operator" and _pauser(actor) == "tenant":
            raise PausedByOperator("an operator paused the tenant; ask the people who run Mailroom to resume it")
        if not tenants.resume(conn, tenant_id, by=_pauser(actor)):
            raise NotPaused(f"{found.name} is not paused")

    _change(run, actor, "pause", tenant_id, work)


def set_policy(run: Run, actor: Actor, tenant_id: int, policy: PolicyChange) -> None:
    """Change a tenant's policy for future events. Raises NotAllowed, UnknownTenant, InvalidPolicy, QuotaOfOperator."""

    def work(conn: Connection, found: TenantOverview) -> None:
        if policy.has_quota and actor.tenant_id is not None:
            raise QuotaOfOperator("ask the people who run Mailroom to change the quota of a tenant")
        validate_wait_for(policy.action or found.action, policy.wait_for or found.wait_for)
        tenants.set_policy(conn, tenant_id, policy)
        if policy.has_quota:
            tenants.act_as(conn, "")  # the journal has what somebody set, and not what was counted because of it
            quotas.watch(conn)

    _change(run, actor, "policy", tenant_id, work)


def make_connect_link(  # noqa: PLR0913 -- two say who asks, two are the link's
    run: Run,
    actor: Actor,
    tenant_id: int,
    settings: Settings,
    *,
    valid_for: timedelta = LINK_VALID_FOR,
    company_id: str | None = None,
) -> NewLink:
    """Make the link that connects a tenant; older ones end. With a `company_id` it connects no other company.

    Raises NotAllowed, UnknownTenant, OtherCompany, ConfigurationError.
    """
    change = Change(verb="connect", target=f"tenant {tenant_id}", tenant_id=tenant_id, detail="a connect link")

    def work(conn: Connection) -> NewLink:
        if not tenants.lock_against_removal(conn, tenant_id):
            raise _unknown(tenant_id)
        tenants.act_as(conn, actor.signature)
        return new_link(conn, settings, tenant_id, valid_for=valid_for, company_id=company_id)

    return carry_out(run, actor, change, work, unseen=_unknown(tenant_id))


def request_repair(run: Run, actor: Actor, tenant_id: int, *, since: datetime, dry_run: bool) -> int:
    """Ask for a comparison with Front's event list; return the repair's number.

    Raises NotAllowed, UnknownTenant, NothingReceived.
    """
    change = Change(
        verb="repair",
        target=f"tenant {tenant_id}",
        tenant_id=tenant_id,
        after={"since": since.isoformat(), "dry_run": dry_run},
    )

    def work(conn: Connection) -> int:
        _read(conn, tenant_id)
        if not seen_types(conn):
            raise NothingReceived("no webhook was received yet: which events to compare is learned from them")
        (number,) = repairs.request_repairs(conn, [tenant_id], since=since, dry_run=dry_run, who=actor.name)
        return number

    return carry_out(run, actor, change, work, unseen=_unknown(tenant_id))


def stop_repairs(run: Run, actor: Actor, tenant_id: int | None) -> int:
    """Stop the open repairs of a tenant, or of all that the actor sees; return how many. Raises NotAllowed."""
    only = actor.tenant_id if tenant_id is None else tenant_id
    target = "repairs of all tenants" if only is None else f"tenant {only}"
    change = Change(verb="repair", target=target, tenant_id=only, after={"state": "stopped"})
    unseen = None if only is None else _unknown(only)
    return carry_out(run, actor, change, lambda conn: repairs.stop_repairs(conn, only, who=actor.name), unseen=unseen)


def _change(
    run: Run, actor: Actor, verb: str, tenant_id: int, make: Callable[[Connection, TenantOverview], None]
) -> None:
    change = Change(verb=verb, target=f"tenant {tenant_id}", tenant_id=tenant_id)

    def work(conn: Connection) -> None:
        tenants.act_as(conn, actor.signature)
        tenants.lock(conn, tenant_id)
        before = _read(conn, tenant_id)
        make(conn, before)
        change.before, change.after = _differences(before, _read(conn, tenant_id))

    carry_out(run, actor, change, work, unseen=_unknown(tenant_id))


def _read(conn: Connection, tenant_id: int) -> TenantOverview:
    found = tenants.get(conn, tenant_id)
    if found is None:
        raise _unknown(tenant_id)
    return found


def _unknown(tenant_id: int) -> UnknownTenant:
    return UnknownTenant(f"there is no tenant {tenant_id}")


def _pauser(actor: Actor) -> Pauser:
    return "operator" if actor.tenant_id is None else "tenant"


def _differences(before: TenantOverview, after: TenantOverview) -> tuple[dict[str, Any], dict[str, Any]]:
    old, new = asdict(before), asdict(after)
    names = [name for name in old if old[name] != new[name] and name not in {"parked_at", "users"}]
    return {name: _plain(old[name]) for name in names}, {name: _plain(new[name]) for name in names}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, str, list)) else str(value)
