"""The whole way stays cheap. Only the ratio of CPU within one run is tested, with slack for a busy machine.

On two cores with a load of eleven, 1,000 events took 9.1 to 10.9 s of CPU, and the textbook 7.2 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.flow.comparison import steady
from bench.flow.systems import PEERS, our_system, peer_system
from bench.harness.servers import both_servers

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bench.flow.systems import System

#: An event that costs more than so many times the textbook's is a mistake.
MOST = 2.4
PER_SECOND, SECONDS = 50, 4.0

pytestmark = pytest.mark.timeout(240)


def cost(opened: AbstractContextManager[System]) -> float:
    with opened as system:
        system.start()
        figures = steady(system, PER_SECOND, SECONDS)
    assert figures["settled"], figures
    assert figures["lost"] == figures["double"] == 0, figures
    return float(figures["cpu_seconds_per_1000"])


def test_an_event_costs_not_much_more_than_the_textbooks() -> None:
    [textbook] = [peer for peer in PEERS if peer.name == "textbook"]
    with both_servers() as (servers, folder):
        ours, theirs = cost(our_system(servers, folder)), cost(peer_system(textbook, servers, folder))
    assert ours / theirs < MOST, (ours, theirs)
