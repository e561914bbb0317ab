"""`mailroom status`: how much waits, for how long, and which processes work on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from console.cli.commands import FAILED
from console.cli.options import database, json_option
from console.cli.output import print_json, print_pairs, say
from console.remedies import MAX_NAMES, REMEDIES, capped, counted, names, silence
from console.times import format_duration, format_time
from shared.errors import StoreUnavailable
from shared.models import EVENT_STATES

if TYPE_CHECKING:
    from shared.connection.budget import Budget
    from shared.db.core.pool import Connection
    from shared.db.reading.repairs import RepairView
    from shared.db.reading.status import EventCount, ParkedWork, RunningProcess
    from shared.db.tasks.rate_limit import TenantAtLimit
    from shared.db.tenants.connections import RefusedTenant
    from shared.db.tenants.erasing import ErasedCompany

REPAIR_KEYS = (
    "id",
    "tenant",
    "state",
    "dry_run",
    "since",
    "until",
    "position",
    "missing",
    "fed",
    "code",
    "detail",
    "parked",
)


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show what waits, runs and is done.

    Exits 1 when Redis does not answer; the rest is shown all the same. Ask `mailroom doctor` whether something must be
    fixed. Example: mailroom status --json
    """
    from shared.db.reading.status import count_events

    with database() as conn, conn.transaction():
        document = status_document(conn, count_events(conn))
    if as_json:
        print_json(document)
    else:
        _print(document)
    if document["intake"]["depth"] is None:
        ctx.exit(FAILED)


def status_document(conn: Connection, events: list[EventCount]) -> dict[str, Any]:
    """Return the document of `status --json`. The intake's `depth` is None while Redis does not answer.

    Counts of events and tasks end one after 10,000, so that asking costs the same however many there are.
    """
    from shared.db import figures
    from shared.db.counters import read_counter, read_counters
    from shared.db.reading import status as reading
    from shared.db.tasks.outages import current_outages
    from shared.db.tasks.rate_limit import tenants_at_limit
    from shared.db.tenants import connections, erasing
    from shared.settings import load

    settings = load()
    by_state: Counter[str] = Counter(dict.fromkeys(EVENT_STATES, 0))
    for group in events:
        by_state[group.state] += group.count
    spooled = reading.spool_status(conn)
    depth, oldest, dropped = _redis_figures()
    return {
        "intake": {
            "depth": depth,
            "oldest_age_seconds": round(max(oldest, spooled.oldest_age_seconds), 3),
            "spooled": spooled.count,
        },
        "events": dict(by_state),
        "last_hour": figures.sums(conn, datetime.now(UTC) - timedelta(hours=1)),
        "parked": reading.parked_work(conn),
        "tasks": reading.count_tasks(conn),
        "rescued": read_counter(conn, "rescued"),
        "dropped_messages": dropped,
        "token_refreshes": read_counters(conn, "token_refreshes:"),
        "retention": {
            "unclaimed_days": settings.retention_unclaimed_days,
            "events_days": settings.retention_events_days,
            "deleted": dict.fromkeys(("unclaimed", "events", "files"), 0) | read_counters(conn, "deleted:"),
        },
        "refused": connections.refused_tenants(conn),
        "dry_run": reading.tenants_in_dry_run(conn),
        "repairs": _repairs(conn),
        "outages": [{"what": each.what, "since": each.since, "code": each.code} for each in current_outages(conn)],
        "rate_limit": tenants_at_limit(conn, _budget()),
        "erased": erasing.still_sending(conn),
        "processes": {
            "alive": reading.running_processes(conn, within=reading.SILENT_SECONDS),
            "silent": reading.silent_processes(conn),
        },
    }


def _redis_figures() -> tuple[int | None, float, int | None]:
    """Return the intake's depth, its oldest age in seconds, and the number of dropped messages of all queues.

    Note on stderr when Redis does not answer.
    """
    from shared.intake.client import open_intake
    from shared.queue import QueueDepth
    from shared.settings import load

    settings = load("redis_url")
    with closing(open_intake(settings)) as intake, closing(QueueDepth(settings.redis_url.get_secret_value())) as queue:
        try:
            return intake.depth(), intake.oldest_age_seconds(), queue.dropped()
        except StoreUnavailable as error:
            say(f"{error.code}: {error}")
            return None, 0.0, None


def _budget() -> Budget:
    from shared.connection.budget import Budget
    from shared.settings import load

    return Budget.from_url(load("redis_url").redis_url.get_secret_value())


def _repairs(conn: Connection) -> dict[str, Any]:
    from shared.db.reading import repairs

    gap = repairs.last_gap(conn)
    return {
        "under_way": [_repair_facts(each) for each in repairs.under_way(conn)],
        "failed": [_repair_facts(each) for each in repairs.unresolved_failures(conn)],
        "last_gap": gap and {**_repair_facts(gap), "settled_at": gap.settled_at},
    }


def _repair_facts(repair: RepairView) -> dict[str, Any]:
    return {key: getattr(repair, key) for key in REPAIR_KEYS}


def _print(document: dict[str, Any]) -> None:
    intake, unclaimed_days = document["intake"], document["retention"]["unclaimed_days"]
    processes = document["processes"]
    waits = intake["depth"] or intake["spooled"]
    depth = "unknown: Redis does not answer" if intake["depth"] is None else f"{intake['depth']:,}"
    now, dropped = datetime.now(UTC), document["dropped_messages"]
    rows: list[tuple[str, str]] = [
        ("oldest unrecorded", format_duration(intake["oldest_age_seconds"]) if waits else "none"),
        ("intake", depth + (f", {intake['spooled']:,} spooled in PostgreSQL" if intake["spooled"] else "")),
        ("events", _counts(document["events"], capped)),
        *((f"  parked: {group.cause}", _parked(group, now, unclaimed_days)) for group in document["parked"]),
        ("tasks", _counts(document["tasks"], capped)),
        ("last hour", _counts({kind.replace("_", " "): count for kind, count in vars(document["last_hour"]).items()})),
        *((f"{each['what']} is away", _outage(each)) for each in document["outages"]),
        *_rate_limit_rows(document["rate_limit"], now),
        *((("no new tokens for", _refused(document["refused"])),) if document["refused"] else ()),
        *_repair_rows(document["repairs"]),
        *((("dry run", _dry_runs(document["dry_run"])),) if document["dry_run"] else ()),
        *(("erased, still sending", _still_sending(each)) for each in document["erased"]),
        ("rescued", f"{document['rescued']:,}"),
        *((("dropped", f"{dropped:,} entries of the queues in Redis that were no messages"),) if dropped else ()),
        ("deleted for age", _counts(document["retention"]["deleted"])),
        ("token refreshes", _counts(document["token_refreshes"])),
        ("processes", _processes(processes["alive"])),
        *((("silent", silence(processes["silent"], now)),) if processes["silent"] else ()),
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


def _outage(outage: dict[str, Any]) -> str:
    return f"since {format_time(outage['since'])} UTC: {outage['code']}; one task at a time asks whether it is back"


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


def _repair_rows(repairs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for each in repairs["under_way"]:
        yield f"repair of {each['tenant']}", _under_way(each)
    for each in repairs["failed"]:
        yield f"repair of {each['tenant']}", f"failed: {each['code']}: {each['detail']}"
    if gap := repairs["last_gap"]:
        yield "last gap", f"{gap['missing']:,} missing of {gap['tenant']} {_span(gap)}, {gap['fed']:,} fed"


def _under_way(repair: dict[str, Any]) -> str:
    why = repair["parked"] or repair["code"]
    reached = f", at {format_time(repair['position'])} UTC" if repair["position"] else ""
    return f"{repair['state']}{f' ({why})' if why else ''}{reached}, {repair['missing']:,} missing so far"


def _span(repair: dict[str, Any]) -> str:
    if not repair["until"]:
        return ""
    return f"between {format_time(repair['since'])} and {format_time(repair['until'])} UTC"


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
