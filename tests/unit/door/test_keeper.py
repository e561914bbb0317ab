"""Where a delivery is kept, and what the door calls ready."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ingest.keeper import AWAY, WRITABLE, Keeper
from ingest.readiness import Readiness
from ingest.stores import RingingSpool
from shared.errors import NothingStored, StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

DELIVERY = Delivery(id="0" * 32, received_at=datetime(2026, 8, 11, tzinfo=UTC), body=b"{}")


class Shelf:
    """A store that takes everything, or nothing."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.kept: list[Delivery] = []
        self.checks = 0

    def submit(self, delivery: Delivery, settle: Callable[[Exception | None], None]) -> None:
        if self.away:
            settle(StoreUnavailable("away"))
        else:
            self.kept.append(delivery)
            settle(None)

    def check(self) -> None:
        self.checks += 1
        if self.away:
            raise StoreUnavailable("away")


def test_the_intake_comes_first() -> None:
    intake, spool = Shelf(), Shelf()
    assert Keeper(intake=intake, spool=spool).keep(DELIVERY) == "intake"
    assert (intake.kept, spool.kept) == ([DELIVERY], [])


def test_the_spool_takes_the_same_delivery_when_the_intake_is_away() -> None:
    spool = Shelf()
    assert Keeper(intake=Shelf(away=True), spool=spool).keep(DELIVERY) == "spool"
    assert spool.kept == [DELIVERY]


def test_a_store_that_never_answers_is_not_waited_for() -> None:
    class Silent(Shelf):
        def submit(self, delivery: Delivery, settle: Callable[[Exception | None], None]) -> None: ...

    with pytest.raises(NothingStored, match="within"):
        Keeper(intake=Silent(), spool=Shelf(), seconds=0.01).keep(DELIVERY)


def test_with_both_away_nothing_is_stored() -> None:
    with pytest.raises(NothingStored):
        Keeper(intake=Shelf(away=True), spool=Shelf(away=True)).keep(DELIVERY)


@pytest.mark.parametrize(
    ("intake", "spool", "answers"),
    [
        # The spool is not asked while the intake will do: psycopg stays unloaded
        (Shelf(), Shelf(), {"intake": WRITABLE}),
        (Shelf(away=True), Shelf(), {"intake": AWAY, "spool": WRITABLE}),
        (Shelf(away=True), Shelf(away=True), {"intake": AWAY, "spool": AWAY}),
    ],
)
def test_readiness_asks_what_it_must(intake: Shelf, spool: Shelf, answers: dict[str, str]) -> None:
    assert Keeper(intake=intake, spool=spool).readiness() == answers


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({"intake": WRITABLE}, 200),
        ({"intake": AWAY, "spool": WRITABLE}, 200),
        ({"intake": AWAY, "spool": AWAY}, 503),
    ],
)
def test_ready_means_that_some_store_is_writable(answers: dict[str, str], status: int) -> None:
    assert Readiness(lambda: answers).answer() == ({"ready": status == 200, "checks": answers}, status)


def test_stores_are_asked_once_a_second() -> None:
    intake, seconds = Shelf(), [0.0]
    readiness = Readiness(Keeper(intake=intake, spool=Shelf()).readiness, clock=lambda: seconds[0])
    for seconds[0] in (0.0, 0.5, 0.99, 1.0, 1.5):
        readiness.answer()
    assert intake.checks == 2


def test_the_spool_rings_once_a_second() -> None:
    class Spool:
        def put(self, deliveries: object) -> list[Exception | None]:
            return [None]

        def check(self) -> None: ...

    rings: list[float] = []
    seconds = [0.0]
    spool = RingingSpool(Spool(), lambda: rings.append(seconds[0]), clock=lambda: seconds[0])
    for seconds[0] in (0.0, 0.5, 1.0, 1.9, 3.0):
        spool.put([DELIVERY])
    assert rings == [0.0, 1.0, 3.0]
