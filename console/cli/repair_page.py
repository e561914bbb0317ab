"""What repairs found, for people and for scripts: a line each, and for a dry run a strip by the hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from console.cli.output import columns_of, print_table, screen, shown
from console.cli.times import short_stamp
from shared.db.reading.repairs import ShownRepair

STRIP = 30
COLUMNS = ("tenant", "state", "from (UTC)", "on Front's list", "recorded", "missing", "fed", "")


def as_document(repairs: Sequence[ShownRepair]) -> dict[str, Any]:
    """The one document of `--json`; hours oldest first."""
    return {"repairs": [{**asdict(each), "hours": _hours(each)} for each in repairs]}


def print_repairs(repairs: Sequence[ShownRepair]) -> None:
    """The page."""
    print_table(COLUMNS, map(_row, repairs), right=COLUMNS[3:7], whole=("from (UTC)",))
    for repair in repairs:
        if repair.dry_run and repair.hours:
            screen().print(shown(f"\n{repair.tenant}, by the hour (UTC): recorded █, missing ░".lstrip("\n"), "dim"))
            screen().print(columns_of(_strip(repair)))


def _row(repair: ShownRepair) -> tuple[object, ...]:
    since = short_stamp(repair.since) if repair.since else None
    why = repair.detail or repair.parked or repair.code
    return repair.tenant, repair.state, since, repair.seen, repair.known, repair.missing, repair.fed, why


def _hours(repair: ShownRepair) -> list[dict[str, Any]]:
    return [
        {"hour": hour, "seen": seen, "recorded": seen - missing, "missing": missing}
        for hour, (seen, missing) in sorted(repair.hours.items())
    ]


def _strip(repair: ShownRepair) -> list[list[Text]]:
    hours = _hours(repair)
    most = max(each["seen"] for each in hours)
    return [
        [
            shown(each["hour"].replace("T", " ").rstrip("Z")[5:]),
            _bar(each["recorded"], each["missing"], most),
            shown(f"{each['recorded']:,} of {each['seen']:,}"),
            shown(f"{each['missing']:,} missing", "red") if each["missing"] else shown(""),
        ]
        for each in hours
    ]


def _bar(recorded: int, missing: int, most: int) -> Text:
    """At least one mark for anything that is missing."""
    gap = max(round(STRIP * missing / most), 1) if missing else 0
    return shown("█" * min(round(STRIP * recorded / most), STRIP - gap), "green") + shown("░" * gap, "red")
