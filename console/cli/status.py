"""`mailroom status`: how much waits, how long, and who works on it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from console.cli.options import json_option

if TYPE_CHECKING:
    from shared.db.pool import Connection
    from shared.db.reading.status import EventCount, Process
    from shared.db.tombstones import ErasedCompany


NAMED = 5


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show what waits, runs and is done.

    Exits 1 when Redis does not answer; the rest is shown all the same. Example: mailroom status --json
    """
    from console.cli.commands import FAILED
    from console.cli.database import database
    from console.cli.output import print_json
    from shared.db.reading.status import alive, count_events

    with database() as conn, conn.transaction():
        events = count_events(conn)
        document = read_status(conn, events)
        processes = alive(conn)
    if as_json:
        print_json(document)
    else:
        _print(document, processes)
    if document["intake"]["depth"] is None:
        ctx.exit(FAILED)


def read_status(conn: Connection, events: list[EventCount]) -> dict[str, Any]:
    """The status as design and scripts know it. `depth` is None while Redis does not answer."""
    from console.cli.repair_status import read_repairs
    from shared.db import tombstones
    from shared.db.outages import standing
    from shared.db.reading.parked import parked
    from shared.db.reading.states import EVENT_STATES
    from shared.db.reading.status import count_tasks, counter, counters, dry_runs, spool
    from shared.settings import load

    settings = load()
    by_state: Counter[str] = Counter(dict.fromkeys(EVENT_STATES, 0))
    for group in events:
        by_state[group.state] += group.count
    spooled = spool(conn)
    depth, oldest = _intake()
    return {
        "intake": {
            "depth": depth,
            "oldest_age_seconds": round(max(oldest, spooled.oldest_age_seconds), 3),
            "spooled": spooled.count,
        },
        "events": dict(by_state),
        "parked": parked(conn),
        "tasks": count_tasks(conn),
        "rescued": counter(conn, "rescued"),
        "token_refreshes": counters(conn, "token_refreshes:"),
        "retention": {
            "unclaimed_days": settings.retention_unclaimed_days,
            "events_days": settings.retention_events_days,
            "deleted": dict.fromkeys(("unclaimed", "events", "files"), 0) | counters(conn, "deleted:"),
        },
        "dry_run": dry_runs(conn),
        "repairs": read_repairs(conn),
        "outages": [{"what": each.what, "since": each.since, "code": each.code} for each in standing(conn)],
        "erased": tombstones.still_sending(conn),
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


def _print(document: dict[str, Any], processes: list[Process]) -> None:
    from console.cli.output import print_facts
    from console.cli.parking import parked_line
    from console.cli.repair_status import repair_lines
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


def _alive(processes: list[Process]) -> str:
    kinds = Counter(process.kind for process in processes)
    slots = sum(process.slots for process in processes)
    if not kinds:
        return "none alive; start them with `mailroom up` or your platform"
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + f" ({slots} slots)"
