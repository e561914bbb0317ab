"""Say in words, for each kind of process, whether it does its work, and what to do where it does not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from console.remedies import counted, silence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from shared.db.reading.status import RunningProcess

#: The kinds with a heartbeat: the work of each, and what happens meanwhile if none is alive.
WORK: Final[Mapping[str, tuple[str, str]]] = {
    "recorder": ("records the webhooks of the intake", "the sweeper records in its place, a second later"),
    "worker": ("fetches messages, stores files and changes conversations", "tasks wait, and none is lost"),
    "sweeper": (
        "takes back what others lost, and starts what is periodic",
        "nothing lost is rescued, and no repair runs",
    ),
    "console": ("shows these pages and answers the REST API", "nobody sees anything"),
}


@dataclass(frozen=True, kw_only=True)
class KindReport:
    """A kind of process in words; `fix` is empty where nothing is to be done. Parts in backticks are commands."""

    kind: str
    work: str
    ok: bool
    found: str
    fix: str = ""


def report_kinds(alive: Sequence[RunningProcess], silent: Sequence[RunningProcess], now: datetime) -> list[KindReport]:
    """Report each kind with a heartbeat, in the order in which a webhook meets them."""
    return [
        _report(
            kind, [each for each in alive if each.kind == kind], [each for each in silent if each.kind == kind], now
        )
        for kind in WORK
    ]


def mixed_versions(alive: Sequence[RunningProcess]) -> dict[str, list[str]]:
    """Return the names of the live processes by version, if they run more than one version; else nothing."""
    names: dict[str, list[str]] = {}
    for each in alive:
        names.setdefault(each.version or "of a folder", []).append(each.name)
    return names if len(names) > 1 else {}


def _report(kind: str, alive: list[RunningProcess], silent: list[RunningProcess], now: datetime) -> KindReport:
    work, without = WORK[kind]
    found = f"{counted(len(alive), 'is', 'are')} alive" if alive else f"none is alive: {without}"
    if silent:
        found += f"; silent: {silence(silent, now)}"
    return KindReport(kind=kind, work=work, ok=bool(alive) and not silent, found=found, fix=_fix(kind, alive, silent))


def _fix(kind: str, alive: list[RunningProcess], silent: list[RunningProcess]) -> str:
    if silent:
        return (
            f"restart it; `mailroom health {kind}` on its host says whether it is back. One that stays away is "
            "forgotten after an hour"
        )
    return "" if alive else f"start the Procfile's process `{kind}` on your platform, or all with `mailroom up`"
