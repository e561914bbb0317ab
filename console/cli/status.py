"""`mailroom status`: how much waits, for how long, and which processes work on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from console.cli.backend import backend
from console.cli.commands import FAILED
from console.cli.options import json_option
from console.cli.output import print_json, print_pairs
from console.remedies import MAX_NAMES, REMEDIES, capped, counted, names, silence
from console.times import format_duration, format_time
from shared.models import QUOTAS

if TYPE_CHECKING:
    from console.status_document import HeldFigures, OutageFigures, RepairFigures, RepairsFigures, Status
    from shared.db.reading.status import ParkedWork, RunningProcess
    from shared.db.tasks.rate_limit import TenantAtLimit
    from shared.db.tenants.connections import RefusedTenant
    from shared.db.tenants.erasing import ErasedCompany
    from shared.db.tenants.quotas import HeldTenant


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show what waits, runs and is done.

    Exits 1 when Redis does not answer; the rest is shown all the same. Ask `mailroom doctor` whether something must be
    fixed. Example: mailroom status --json
    """
    with backend() as mailroom:
        found = mailroom.status()
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found.intake.depth is None:
        ctx.exit(FAILED)


def _print(found: Status) -> None:
    intake, unclaimed_days = found.intake, found.retention.unclaimed_days
    waits = intake.depth or intake.spooled
    depth = "unknown: Redis does not answer" if intake.depth is None else f"{intake.depth:,}"
    now, dropped = datetime.now(UTC), found.dropped_messages
    rows: list[tuple[str, str]] = [
        ("oldest unrecorded", format_duration(intake.oldest_age_seconds) if waits else "none"),
        ("intake", depth + (f", {intake.spooled:,} spooled in PostgreSQL" if intake.spooled else "")),
        ("events", _counts(found.events, capped)),
        *((f"  parked: {group.cause}", _parked(group, now, unclaimed_days)) for group in found.parked),
        ("tasks", _counts(found.tasks, capped)),
        ("last hour", _counts({kind.replace("_", " "): count for kind, count in vars(found.last_hour).items()})),
        *((f"{each.what} is away", _outage(each)) for each in found.outages),
        *_rate_limit_rows(found.rate_limit, now),
        *((f"quota of {each.tenant}", _over_quota(each)) for each in found.over_quota),
        *((f"held: {each.name}", _held(each)) for each in found.held_endpoints),
        *((("no new tokens for", _refused(found.refused)),) if found.refused else ()),
        *_repair_rows(found.repairs),
        *((("dry run", _dry_runs(found.dry_run)),) if found.dry_run else ()),
        *(("erased, still sending", _still_sending(each)) for each in found.erased),
        ("rescued", f"{found.rescued:,}"),
        *((("dropped", f"{dropped:,} entries of the queues in Redis that were no messages"),) if dropped else ()),
        ("deleted for age", _counts(found.retention.deleted)),
        ("token refreshes", _counts(found.token_refreshes)),
        ("processes", _processes(found.processes.alive)),
        *((("silent", silence(found.processes.silent, now)),) if found.processes.silent else ()),
    ]
    print_pairs(rows)


def _parked(group: ParkedWork, now: datetime, unclaimed_days: int) -> str:
    age, events = format_duration((now - group.oldest_at).total_seconds()), capped(group.events)
    if group.cause == "unknown_company":
        amount = f"{events} of {counted(group.companies, 'company', 'companies')}, oldest {age}"
        amount += f"; deleted after {unclaimed_days} d" if unclaimed_days else "; kept for ever"
    else:
        amount = f"{events} of {counted(group.companies, 'tenant', 'tenants')}, parked {age}: {names(group.tenants)}"
    return f"{amount}; {REMEDIES.get(group.cause, 'released by itself')}"


def _outage(outage: OutageFigures) -> str:
    return f"since {format_time(outage.since)} UTC: {outage.code}; one task at a time asks whether it is back"


def _over_quota(tenant: HeldTenant) -> str:
    used = QUOTAS[tenant.quota]
    return f"{used} used up since {format_time(tenant.since)} UTC: files wait; see `mailroom tenant policy --help`"


def _held(endpoint: HeldFigures) -> str:
    since = f" since {format_time(endpoint.since)} UTC" if endpoint.since else ""
    return f"{endpoint.cause}{since}; {capped(endpoint.waiting)} notifications wait; see `mailroom endpoint list`"


def _rate_limit_rows(tenants: list[TenantAtLimit], now: datetime) -> Iterator[tuple[str, str]]:
    for each in tenants[:MAX_NAMES]:
        yield f"limit of {each.tenant}", f"{_calls(each)}; {_waiting(each, now)}"
    if len(tenants) > MAX_NAMES:
        yield "limit of", f"{counted(len(tenants) - MAX_NAMES, 'more tenant', 'more tenants')}"


def _calls(tenant: TenantAtLimit) -> str:
    if tenant.limit is None:
        return "calls unknown: Redis does not answer"
    return f"{tenant.limit:,} calls a minute: {tenant.used:,} used, {tenant.wasted:,} wasted"


def _waiting(tenant: TenantAtLimit, now: datetime) -> str:
    if tenant.oldest_at is None:
        return "nothing waits"
    live = f" and {tenant.waiting_live:,} live" if tenant.waiting_live else ""
    return f"{tenant.waiting:,}{live} wait, oldest {format_duration((now - tenant.oldest_at).total_seconds())}"


def _repair_rows(repairs: RepairsFigures) -> Iterator[tuple[str, str]]:
    for each in repairs.under_way:
        yield f"repair of {each.tenant}", _under_way(each)
    for each in repairs.failed:
        yield f"repair of {each.tenant}", f"failed: {each.code}: {each.detail}"
    if gap := repairs.last_gap:
        yield "last gap", f"{gap.missing:,} missing of {gap.tenant} {_span(gap)}, {gap.fed:,} fed"


def _under_way(repair: RepairFigures) -> str:
    why = repair.parked or repair.code
    reached = f", at {format_time(repair.position)} UTC" if repair.position else ""
    return f"{repair.state}{f' ({why})' if why else ''}{reached}, {repair.missing:,} missing so far"


def _span(repair: RepairFigures) -> str:
    if not (repair.since and repair.until):
        return ""
    return f"between {format_time(repair.since)} and {format_time(repair.until)} UTC"


def _refused(tenants: list[RefusedTenant]) -> str:
    shown = names([f"{each.tenant} (since {format_time(each.since)} UTC)" for each in tenants])
    return f"{shown}: Front refuses them; {REMEDIES['needs_reconnect']}"


def _dry_runs(tenants: list[str]) -> str:
    return f"{names(tenants)}: nothing is changed in Front"


def _still_sending(company: ErasedCompany) -> str:
    last = f", last {format_time(company.last_dropped_at)} UTC" if company.last_dropped_at else ""
    return f"{company.company_id}: {company.dropped:,} deliveries dropped{last}; its admin can remove the app in Front"


def _processes(processes: list[RunningProcess]) -> str:
    kinds = Counter(process.kind for process in processes)
    slots = sum(process.slots for process in processes)
    if not kinds:
        return "none alive; start them with `mailroom up` or your platform"
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + f" ({slots} slots)"


def _counts(states: dict[str, int], write: Callable[[int], str] = "{:,}".format) -> str:
    return ", ".join(f"{write(count)} {state}" for state, count in states.items() if count) or "none"
