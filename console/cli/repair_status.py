"""What `mailroom status` says of repairs: nothing, unless there is something to say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from console.cli.times import stamp
from shared.db.reading import repairs

if TYPE_CHECKING:
    from shared.db.pool import Connection
    from shared.db.reading.repairs import ShownRepair

FACTS = ("id", "tenant", "state", "dry_run", "since", "until", "position", "missing", "fed", "code", "detail", "parked")


def read_repairs(conn: Connection) -> dict[str, Any]:
    """What runs, what failed and was not made up for, and the last gap."""
    gap = repairs.last_gap(conn)
    return {
        "under_way": [_facts(each) for each in repairs.under_way(conn)],
        "failed": [_facts(each) for each in repairs.refused(conn)],
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


def _facts(repair: ShownRepair) -> dict[str, Any]:
    return {name: getattr(repair, name) for name in FACTS}
