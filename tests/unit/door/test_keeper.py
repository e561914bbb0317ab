"""The keeper stores a delivery in the intake, else in the spool, within a deadline, and reports readiness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from ingest.keeper import Deadlines, Keeper, Store
from shared.errors import NothingStored, NotMigrated, SchemaTooNew, StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

DELIVERY = Delivery(id="0" * 32, received_at=datetime(2026, 8, 11, tzinfo=UTC), body=b"{}")


class FakeStore:
    """A store that accepts everything, refuses it, fails, or never answers."""

    def __init__(self, *, failure: Exception | None = None, refuses: bool = False, silent: bool = False) -> None:
        self.failure = failure
        self.refuses = refuses
        self.silent = silent
        self.kept: list[Delivery] = []
        self.puts = 0
        self.checks = 0

    async def put(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        self.puts += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        if self.refuses:
            return [StoreUnavailable("full") for _ in deliveries]
        self.kept += deliveries
        return [None] * len(deliveries)

    async def check(self) -> None:
        self.checks += 1
        if self.failure or self.refuses:
            raise self.failure or StoreUnavailable("full")


UNAVAILABLE = StoreUnavailable("away")


def keeper(intake: FakeStore, spool: FakeStore, **options: Any) -> Keeper:
    return Keeper(
        intake=Store("intake", intake, look_every=0.001), spool=Store("spool", spool, look_every=0.001), **options
    )


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(story, 20))


def keep(intake: FakeStore, spool: FakeStore, **options: Any) -> str:
    async def story() -> str:
        return await keeper(intake, spool, **options).keep(DELIVERY)

    return run(story())


def test_the_intake_is_tried_first() -> None:
    intake, spool = FakeStore(), FakeStore()
    assert keep(intake, spool) == "intake"
    assert (intake.kept, spool.kept) == ([DELIVERY], [])


@pytest.mark.parametrize(
    "intake", [FakeStore(failure=UNAVAILABLE), FakeStore(refuses=True), FakeStore(failure=ZeroDivisionError("bug"))]
)
def test_the_spool_stores_the_delivery_when_the_intake_does_not(intake: FakeStore) -> None:
    spool = FakeStore()
    assert keep(intake, spool) == "spool"
    assert spool.kept == [DELIVERY]


@pytest.mark.parametrize(
    ("intake", "spool"),
    [(FakeStore(silent=True), FakeStore()), (FakeStore(failure=UNAVAILABLE), FakeStore(silent=True))],
)
def test_a_silent_store_costs_no_more_than_the_deadline(intake: FakeStore, spool: FakeStore) -> None:
    with pytest.raises(NothingStored, match="in time"):
        keep(intake, spool, seconds=0.02)


def test_nothing_is_stored_while_both_stores_are_away() -> None:
    with pytest.raises(NothingStored, match="intake: away; spool: full"):
        keep(FakeStore(failure=UNAVAILABLE), FakeStore(refuses=True))


def test_a_kept_delivery_is_counted_and_logged() -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("mailroom_deliveries_total", {"result": "intake"}) or 0.0

    before = count()
    with capture_logs() as lines:
        keep(FakeStore(), FakeStore())
    assert count() == before + 1
    assert lines == [
        {"event": "delivery_kept", "log_level": "debug", "delivery_id": DELIVERY.id, "place": "intake", "size": 2}
    ]


def test_in_an_outage_only_the_first_request_waits_and_the_store_comes_back() -> None:
    intake, spool = FakeStore(failure=UNAVAILABLE), FakeStore()

    async def story() -> list[str]:
        ours = keeper(intake, spool)
        places = [await ours.keep(DELIVERY) for _ in range(3)]
        assert intake.puts == 1
        intake.failure = None
        while places[-1] != "intake":
            places.append(await ours.keep(DELIVERY))
            await asyncio.sleep(0.001)
        return places

    with capture_logs() as lines:
        assert run(story())[:3] == ["spool"] * 3
    assert [line["event"] for line in lines if line["event"].startswith("store_")] == ["store_away", "store_back"]


def test_a_refusal_of_one_delivery_is_no_outage() -> None:
    intake = FakeStore(refuses=True)

    async def story() -> None:
        ours = keeper(intake, FakeStore())
        for _ in range(3):
            await ours.keep(DELIVERY)

    run(story())
    assert intake.puts == 3


@pytest.mark.parametrize(
    ("intake", "spool", "answers"),
    [
        # The spool is not asked while the intake is ready, so psycopg stays unloaded
        (FakeStore(), FakeStore(), {"intake": True}),
        (FakeStore(failure=UNAVAILABLE), FakeStore(), {"intake": False, "spool": True}),
        (FakeStore(failure=UNAVAILABLE), FakeStore(refuses=True), {"intake": False, "spool": False}),
    ],
)
def test_readiness_asks_the_spool_only_without_the_intake(
    intake: FakeStore, spool: FakeStore, answers: dict[str, bool]
) -> None:
    async def story() -> object:
        return await keeper(intake, spool).stores()

    assert run(story()) == answers


def test_readiness_does_not_ask_a_store_in_an_outage() -> None:
    intake = FakeStore(failure=UNAVAILABLE)

    async def story() -> object:
        store = Store("intake", intake, look_every=60)
        with pytest.raises(StoreUnavailable):
            await store.keep(DELIVERY)
        return await store.is_writable()

    assert (run(story()), intake.checks) == (False, 0)


def test_readiness_asks_each_store_at_most_once_a_second() -> None:
    intake, seconds = FakeStore(), [0.0]

    async def story() -> None:
        ours = keeper(intake, FakeStore(), clock=lambda: seconds[0])
        for seconds[0] in (0.0, 0.5, 0.99, 1.0, 1.5):
            await asyncio.gather(ours.stores(), ours.stores())

    run(story())
    assert intake.checks == 2


@pytest.mark.parametrize(
    ("answers", "told", "asked"),
    [
        ([None], [None] * 4, 1),
        ([NotMigrated("run it"), None], ["run it", None, None, None], 2),
        ([StoreUnavailable("away"), NotMigrated("run it"), None], [None, "run it", None, None], 3),
        # A door that knew of a problem goes on to tell it while PostgreSQL is away
        ([SchemaTooNew("too new"), StoreUnavailable("away")], ["too new"] * 4, 4),
    ],
)
def test_readiness_asks_for_the_schema_until_it_was_current_once(
    answers: list[Exception | None], told: list[str | None], asked: int
) -> None:
    seconds, calls = [0.0], []

    async def check() -> None:
        calls.append(seconds[0])
        if error := answers[min(len(calls), len(answers)) - 1]:
            raise error

    async def story() -> list[str | None]:
        ours = keeper(FakeStore(), FakeStore(), check_schema=check, clock=lambda: seconds[0])
        heard = []
        for seconds[0] in (0.0, 1.0, 2.0, 3.0):
            heard.append((await asyncio.gather(ours.schema_problem(), ours.schema_problem()))[1])
        return heard

    assert run(story()) == told
    assert len(calls) == asked


def test_readiness_does_not_ask_for_the_schema_where_postgresql_just_gave_no_answer() -> None:
    """Both would wait as long as the sender does."""
    asked = []

    async def check() -> None:
        asked.append(1)

    async def story() -> object:
        ours = keeper(FakeStore(failure=UNAVAILABLE), FakeStore(failure=UNAVAILABLE), check_schema=check)
        return await ours.stores(), await ours.schema_problem()

    assert run(story()) == ({"intake": False, "spool": False}, None)
    assert asked == []


async def answer(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "an answer"


def test_a_result_in_time_is_returned() -> None:
    assert asyncio.run(Deadlines(10).within(answer(0.001))) == "an answer"


def test_an_error_in_time_is_raised() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("gone")

    with pytest.raises(KeyError):
        asyncio.run(Deadlines(10).within(fail()))


def test_late_calls_time_out_and_the_others_continue() -> None:
    async def story() -> tuple[list[object], float]:
        deadlines, began = Deadlines(0.1), time.monotonic()
        late = [deadlines.within(answer(60)) for _ in range(1000)]
        ends: list[object] = await asyncio.gather(*late, deadlines.within(answer(0.001)), return_exceptions=True)
        return ends, time.monotonic() - began

    ends, took = asyncio.run(story())
    assert {type(end) for end in ends[:-1]} == {TimeoutError}
    assert ends[-1] == "an answer"
    assert 0.1 <= took < 5


def test_a_task_whose_call_timed_out_is_not_cancelled_later() -> None:
    async def story() -> str:
        deadlines = Deadlines(0.02)
        with pytest.raises(TimeoutError):
            await deadlines.within(answer(60))
        async with asyncio.timeout(10):  # it counts how often its task was cancelled
            await asyncio.sleep(0.03)
        return await deadlines.within(answer(0))

    assert asyncio.run(story()) == "an answer"


def test_a_cancellation_from_outside_is_passed_on() -> None:
    async def story() -> None:
        task = asyncio.create_task(Deadlines(10).within(answer(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
