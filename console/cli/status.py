"""`mailroom status`: how much waits, how long, and who works on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from console.cli.options import json_option
from console.cli.times import spoken, stamp
from shared.db.reading import repairs

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.reading.repairs import RepairView
    from shared.db.reading.status import EventCount, ParkedWork, RunningProcess
    from shared.db.tenants.erasing import ErasedCompany


#: What ends each cause; the work goes on by itself then.
RELEASES = {
    "unknown_company": "add and connect the tenant: `mailroom tenant add NAME --company cmp_…`",
    "needs_reconnect": "`mailroom tenant connect NAME` gives it a new token",
    "missing_scope": "give the app or token its permissions in Front; one task an hour tries",
    "paused": "`mailroom tenant resume NAME`",
    "erasing": "`mailroom tenant erase NAME` again, if nobody runs it now",
}

FACTS = ("id", "tenant", "state", "dry_run", "since", "until", "position", "missing", "fed", "code", "detail", "parked")


NAMED = 5


def parked_line(group: ParkedWork, now: datetime, unclaimed_days: int) -> str:
    """How much waits for a cause, since when, and what to do; what nobody claims is deleted after so many days."""
    age = spoken((now - group.oldest_at).total_seconds())
    if group.cause == "unknown_company":
        amount = f"{group.events:,} of {_count(group.companies, 'company', 'companies')}, oldest {age}"
        amount += f"; deleted after {unclaimed_days} d" if unclaimed_days else "; kept for ever"
    else:
        amount = f"{group.events:,} of {_count(group.companies, 'tenant', 'tenants')}, parked {age}"
    return f"{amount}; {RELEASES.get(group.cause, 'released by itself')}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def read_repairs(conn: Connection) -> dict[str, Any]:
    """What runs, what failed and was not made up for, and the last gap."""
    gap = repairs.last_gap(conn)
    return {
        "under_way": [_facts(each) for each in repairs.under_way(conn)],
        "failed": [_facts(each) for each in repairs.unresolved_failures(conn)],
        "last_gap": gap and {**_facts(gap), "settled_at": gap.settled_at},
    }


def repair_lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values for the page."""
    for each in found["under_way"]:
        yield f"repair of {each['tenant']}", _under_way(each)
    for each in found["failed"]:
        yield f"repair of {each['tenant']}", f"failed: {each['code']}: {each['detail']}"
    if gap := found["last_gap"]:
        yield "last gap", f"{gap['missing']:,} missing of {gap['tenant']} {_span(gap)}, {gap['fed']:,} fed"


def _under_way(repair: dict[str, Any]) -> str:
    why = repair["parked"] or repair["code"]
    reached = f", at {stamp(repair['position'])} UTC" if repair["position"] else ""
    return f"{repair['state']}{f' ({why})' if why else ''}{reached}, {repair['missing']:,} missing so far"


def _span(repair: dict[str, Any]) -> str:
    return f"between {stamp(repair['since'])} and {stamp(repair['until'])} UTC" if repair["until"] else ""


def _facts(repair: RepairView) -> dict[str, Any]:
    return {name: getattr(repair, name) for name in FACTS}


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show what waits, runs and is done.

    Exits 1 when Redis does not answer; the rest is shown all the same. Example: mailroom status --json
    """
    from console.cli.commands import FAILED
    from console.cli.options import database
    from console.cli.output import print_json
    from shared.db.reading.status import count_events, running_processes

    with database() as conn, conn.transaction():
        events = count_events(conn)
        document = read_status(conn, events)
        processes = running_processes(conn)
    if as_json:
        print_json(document)
    else:
        _print(document, processes)
    if document["intake"]["depth"] is None:
        ctx.exit(FAILED)


def read_status(conn: Connection, events: list[EventCount]) -> dict[str, Any]:
    """The status as design and scripts know it. `depth` is None while Redis does not answer."""
    # DROPPED
    from shared.db.counters import read_counter, read_counters
    from shared.db.reading.status import count_tasks, parked_work, spool_status, tenants_in_dry_run
    from shared.db.tasks.outages import current_outages
    from shared.db.tenants import erasing
    from shared.models import EVENT_STATES
    from shared.settings import load

    settings = load()
    by_state: Counter[str] = Counter(dict.fromkeys(EVENT_STATES, 0))
    for group in events:
        by_state[group.state] += group.count
    spooled = spool_status(conn)
    depth, oldest = _intake()
    return {
        "intake": {
            "depth": depth,
            "oldest_age_seconds": round(max(oldest, spooled.oldest_age_seconds), 3),
            "spooled": spooled.count,
        },
        "events": dict(by_state),
        "parked": parked_work(conn),
        "tasks": count_tasks(conn),
        "rescued": read_counter(conn, "rescued"),
        "token_refreshes": read_counters(conn, "token_refreshes:"),
        "retention": {
            "unclaimed_days": settings.retention_unclaimed_days,
            "events_days": settings.retention_events_days,
            "deleted": dict.fromkeys(("unclaimed", "events", "files"), 0) | read_counters(conn, "deleted:"),
        },
        "dry_run": tenants_in_dry_run(conn),
        "repairs": read_repairs(conn),
        "outages": [{"what": each.what, "since": each.since, "code": each.code} for each in current_outages(conn)],
        "erased": erasing.still_sending(conn),
    }


def _intake() -> tuple[int | None, float]:
    """Depth and oldest age of the stream; says so on stderr when Redis does not answer."""
    from console.cli.output import say
    from shared.errors import StoreUnavailable
    from shared.intake.client import open_intake
    from shared.settings import load

    intake = open_intake(load().require("redis_url"))
    try:
        return intake.depth(), intake.oldest_age_seconds()
    except StoreUnavailable as error:
        say(f"{error.code}: {error}")
        return None, 0.0
    finally:
        intake.close()


def _print(document: dict[str, Any], processes: list[RunningProcess]) -> None:
    from console.cli.output import print_facts

    # DROPPED
    # DROPPED
    from console.cli.times import spoken

    intake, unclaimed_days = document["intake"], document["retention"]["unclaimed_days"]
    depth = "unknown: Redis does not answer" if intake["depth"] is None else f"{intake['depth']:,}"
    rows: list[tuple[str, str]] = [
        (
            "oldest unrecorded",
            spoken(intake["oldest_age_seconds"]) if intake["depth"] or intake["spooled"] else "none",
        ),
        ("intake", depth + (f", {intake['spooled']:,} spooled in PostgreSQL" if intake["spooled"] else "")),
        ("events", _counts(document["events"])),
        *(
            (f"  parked: {group.cause}", parked_line(group, datetime.now(UTC), unclaimed_days))
            for group in document["parked"]
        ),
        ("tasks", _counts(document["tasks"])),
        *((f"{each['what']} is away", _away(each)) for each in document["outages"]),
        *repair_lines(document["repairs"]),
        *((("dry run", _dry_runs(document["dry_run"])),) if document["dry_run"] else ()),
        *(("erased, still sending", _still_sending(each)) for each in document["erased"]),
        ("rescued", f"{document['rescued']:,}"),
        ("deleted for age", _counts(document["retention"]["deleted"])),
        ("token refreshes", _counts(document["token_refreshes"])),
        ("processes", _alive(processes)),
    ]
    print_facts(rows)


def _dry_runs(tenants: list[str]) -> str:
    more = f" and {len(tenants) - NAMED} more" if len(tenants) > NAMED else ""
    return ", ".join(tenants[:NAMED]) + more + ": nothing is changed in Front"


def _away(outage: dict[str, Any]) -> str:
    from console.cli.times import stamp

    return f"since {stamp(outage['since'])} UTC: {outage['code']}; one task at a time asks whether it is back"


def _still_sending(company: ErasedCompany) -> str:
    from console.cli.times import stamp

    last = f", last {stamp(company.last_dropped_at)} UTC" if company.last_dropped_at else ""
    return f"{company.company_id}: {company.dropped:,} deliveries dropped{last}; its admin can remove the app in Front"


def _counts(states: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in states.items() if count) or "none"


def _alive(processes: list[RunningProcess]) -> str:
    kinds = Counter(process.kind for process in processes)
    slots = sum(process.slots for process in processes)
    if not kinds:
        return "none alive; start them with `mailroom up` or your platform"
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + f" ({slots} slots)"
