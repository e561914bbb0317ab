"""Keeps a delivery in the first store that takes it, within the time Front gives us."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import structlog

from ingest import door_metrics
from ingest.bell import Bell, RingingIntake, RingingSpool
from ingest.group_commit import GroupCommit
from shared import failpoints
from shared.db.recording.spool_writer import open_async_spool
from shared.errors import NothingStored, NotMigrated, SchemaTooNew, StoreUnavailable
from shared.intake.client import open_async_intake
from shared.process import tracing
from shared.queue import RECORD_INTAKE, celery_app, send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shared.models import Delivery
    from shared.settings import Settings


log = structlog.get_logger(__name__)

Place = Literal["intake", "spool"]
T = TypeVar("T")

# For one write. A request pays at most for the intake once and the spool once; Front itself waits about 5 s.
INTAKE_SECONDS = 0.4
SPOOL_SECONDS = 0.8
# For all of it, whatever hangs. Every request is answered within 2 s: the rest is for a machine that is busy.
KEEP_SECONDS = 1.2
LOOK_EVERY = 0.5  # seconds, while a store is away
FRESH_SECONDS = 1.0
LOOKS = 10  # at what is overdue, in the time that each request has


class Backend(Protocol):
    """A place that keeps deliveries."""

    async def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Keep each; give the reason for those refused. Raises StoreUnavailable when nothing is known of any."""

    async def check(self) -> None:
        """Raise StoreUnavailable unless `put` would work now."""


class Store:
    """One place as requests see it: they share round trips, and only the first pay for finding out that it is away."""

    def __init__(self, name: Place, backend: Backend, *, look_every: float = LOOK_EVERY) -> None:
        self._name = name
        self._backend = backend
        self._look_every = look_every
        self._commit = GroupCommit(backend.put, failed=self._begin_outage)
        self._outage: str | None = None  # why, while it lasts

    async def keep(self, delivery: Delivery) -> None:
        """Return when the delivery is kept. Raises StoreUnavailable."""
        if self._outage is not None:
            raise StoreUnavailable(self._outage)
        await self._commit.keep(delivery)

    async def is_writable(self) -> bool:
        """Whether writes are taken now; why not is in the log."""
        if self._outage is not None:
            return False
        try:
            await self._backend.check()
        except StoreUnavailable:
            return False
        return True

    def _begin_outage(self, cause: Exception) -> None:
        if self._outage is not None:
            return
        self._outage = str(cause)
        door_metrics.STORES_AWAY.labels(self._name).inc()
        unexpected = cause if not isinstance(cause, StoreUnavailable) else None
        log.warning("store_away", store=self._name, reason=self._outage, exc_info=unexpected)
        self._look = asyncio.get_running_loop().create_task(self._look_until_back())

    async def _look_until_back(self) -> None:
        while self._outage is not None:
            await asyncio.sleep(self._look_every)
            try:
                await self._backend.check()
            except Exception as exc:  # noqa: BLE001 - whatever it is, the store is not back
                self._outage = str(exc)
            else:
                self._outage = None
        log.info("store_back", store=self._name)


class Keeper:
    """The intake, and the spool while the intake does not answer in time."""

    def __init__(
        self,
        *,
        intake: Store,
        spool: Store,
        check_schema: Callable[[], Awaitable[None]] | None = None,
        seconds: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._intake = intake
        self._spool = spool
        self._check_schema = check_schema
        self._schema_problem: str | None = None
        self._schema_asked_at = float("-inf")
        self._deadlines = Deadlines(seconds)
        self._clock = clock
        self._writable: dict[Place, bool] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def keep(self, delivery: Delivery) -> Place:
        """Return where the delivery is kept now. Raises NothingStored; even then it may have been.

        After a timeout it can be in both: the recorder tells by the id that they are one.
        """
        failpoints.reach("received_before_keep")
        with tracing.receive(delivery.id, delivery.received_at) as span:
            try:
                place = await self._deadlines.within(self._keep(delivery))
            except TimeoutError:
                raise NothingStored("no store answered in time") from None
            span.note(place=place, size=len(delivery.body))
        door_metrics.deliveries(place).inc()
        log.debug("delivery_kept", delivery_id=delivery.id, place=place, size=len(delivery.body))
        failpoints.reach("kept_before_answer")
        return place

    async def _keep(self, delivery: Delivery) -> Place:
        try:
            await self._intake.keep(delivery)
        except StoreUnavailable as no_intake:
            try:
                await self._spool.keep(delivery)
            except StoreUnavailable as no_spool:
                raise NothingStored(f"intake: {no_intake}; spool: {no_spool}") from None
            return "spool"
        return "intake"

    async def stores(self) -> Mapping[Place, bool]:
        """Tell which stores are writable, at most a second old. One will do.

        The spool is asked only where the intake cannot do it.
        """
        async with self._asking:
            if self._clock() - self._asked_at >= FRESH_SECONDS:
                self._writable = await self._ask()
                self._asked_at = self._clock()
            return self._writable

    async def schema_problem(self) -> str | None:
        """Tell why the recorder waits for a migration, at most a second old; None when the schema is current.

        PostgreSQL is asked until the schema was current once, and not where it just did not answer as the spool. While
        it does not answer, nothing is held against the door: Redis keeps what comes.
        """
        async with self._asking:
            is_away = self._writable.get("spool") is False
            if self._check_schema and not is_away and self._clock() - self._schema_asked_at >= FRESH_SECONDS:
                await self._look_at_schema(self._check_schema)
                self._schema_asked_at = self._clock()
            return self._schema_problem

    async def _look_at_schema(self, check: Callable[[], Awaitable[None]]) -> None:
        try:
            await check()
        except (NotMigrated, SchemaTooNew) as exc:
            if self._schema_problem is None:
                log.warning("not_ready", code=exc.code, reason=str(exc))
            self._schema_problem = str(exc)
        except StoreUnavailable:
            return
        else:
            self._schema_problem = self._check_schema = None

    async def _ask(self) -> dict[Place, bool]:
        if await self._intake.is_writable():
            return {"intake": True}
        return {"intake": False, "spool": await self._spool.is_writable()}


class Deadlines:
    """Ends each awaited thing after `seconds`, or a tenth more. For one event loop, and one thing of a task at a time.

    One timer serves thousands of requests. `asyncio.timeout` makes two for each webhook: 7 % of an answer (measured).
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Task[object], float] = {}  # in the order they began: a look ends at the first in time
        self._looks = False

    async def within(self, work: Awaitable[T]) -> T:
        """Await it. Raises TimeoutError."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy: a coroutine runs in a task
        loop = task.get_loop()
        self._due[task] = loop.time() + self._seconds
        if not self._looks:
            self._look_later(loop)
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._due:  # somebody else cancelled it
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            self._due.pop(task, None)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = True
        loop.call_later(self._seconds / LOOKS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            task.cancel()
        self._looks = False
        if self._due:
            self._look_later(loop)


def open_keeper(settings: Settings) -> Keeper:
    """The keeper on REDIS_URL and DATABASE_URL, for one event loop. Connects to neither before it is used."""
    bell = Bell(functools.partial(send, celery_app(settings, door=True), RECORD_INTAKE))
    intake = open_async_intake(settings, seconds=INTAKE_SECONDS)
    spool = open_async_spool(settings.database_url.get_secret_value(), seconds=SPOOL_SECONDS)
    return Keeper(
        intake=Store("intake", RingingIntake(intake, bell.ring)),
        spool=Store("spool", RingingSpool(spool, bell.ring)),
        check_schema=spool.check_schema,
    )
