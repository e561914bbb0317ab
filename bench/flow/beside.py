"""The same work through others: each in turn on the same machine, put through the same."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bench.door.figures import OURS
from bench.flow.peer_side import peer_side
from bench.flow.peers import PEERS
from bench.flow.side import our_side
from bench.flow.stage import FAILINGS
from bench.flow.trials import Length, backlog, steady, troubled
from bench.peers.install import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.flow.side import Side
    from bench.harness.servers import Servers


def beside_others(servers: Servers, folder: Path, length: Length, *, peers: bool) -> dict[str, Any]:
    """Each trial with a row for each side; `left_out` as with the doors, `broken` of ours alone."""
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    left_out: dict[str, str] = {}
    for name, opened in _sides(servers, folder, peers=peers):
        try:
            with opened as side:
                for trial, figures in _put_through(side, length):
                    rows[trial][name] = figures
                    print(f"beside, {trial}, {name}: {figures}", file=sys.stderr, flush=True)
        except NotInstalled as why:
            left_out[name] = str(why)
    return {
        "trials": {trial: {"contestants": sides} for trial, sides in rows.items()},
        "titles": {peer.name: peer.title for peer in PEERS if peer.name in rows["troubled"]},
        "left_out": left_out,
        "broken": [failing for trial in rows for failing in failings(trial, rows[trial][OURS])],
    }


def failings(trial: str, figures: dict[str, Any]) -> list[str]:
    """What must never be, in words."""
    found = [f"beside others, {trial}: {figures[failing]} {failing}" for failing in FAILINGS if figures[failing]]
    return found if figures["settled"] else [*found, f"beside others, {trial}: not all was done in time"]


def _sides(servers: Servers, folder: Path, *, peers: bool) -> Iterator[tuple[str, AbstractContextManager[Side]]]:
    yield OURS, our_side(servers, folder)
    for peer in PEERS if peers else ():
        yield peer.name, peer_side(peer, servers, folder)


def _put_through(side: Side, length: Length) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "backlog", backlog(side, length)
    for rate in length.rates:
        yield f"steady_{rate}_a_second", steady(side, rate, length.seconds)
    yield "troubled", troubled(side, length)
