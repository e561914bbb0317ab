"""Keeps a delivery in the first store that takes it, within the time Front gives us."""

from __future__ import annotations

import functools
from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ingest.bell import Bell
from ingest.deadline import WithDeadline
from ingest.group_commit import InLoop, InThread
from ingest.stores import IntakeStore, LoopIntakeStore, RingingSpool
from shared import failpoints
from shared.db.recording.spool_writer import SpoolStore
from shared.errors import NothingStored, StoreUnavailable
from shared.intake.client import open_intake
from shared.intake.in_loop import open_intake_in_loop
from shared.queue import RECORD_INTAKE, celery_app, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.intake.client import Intake
    from shared.models import Delivery
    from shared.settings import Settings

Place = Literal["intake", "spool"]
WRITABLE = "writable"
AWAY = "away"

# For one write. A request pays at most for the intake once and the spool once; Front itself waits about 5 s.
INTAKE_SECONDS = 0.4
SPOOL_SECONDS = 0.8
# For all of it, whatever hangs. Every request is answered within 2 s: what is left is for a machine that is busy.
KEEP_SECONDS = 1.2


class KeepsDeliveries(Protocol):
    """One store as requests see it."""

    def submit(self, delivery: Delivery, settle: Callable[[Exception | None], None]) -> None:
        """Return at once; `settle` hears from any thread, once: None when it is kept, or why it may not be."""

    def check(self) -> None:
        """Raise StoreUnavailable unless writes are taken now."""


Outcome: TypeAlias = Place | NothingStored


class Keeper:
    """The intake, and the spool while the intake does not answer in time."""

    def __init__(self, *, intake: KeepsDeliveries, spool: KeepsDeliveries, seconds: float = KEEP_SECONDS) -> None:
        self._intake = intake
        self._spool = spool
        self._seconds = seconds

    def submit(self, delivery: Delivery, settle: Callable[[Outcome], None]) -> None:
        """Return at once; `settle` hears from any thread, once, where the delivery is kept, or that it may not be.

        After a timeout it can be in both: the recorder tells by the id that they are one.
        """
        failpoints.reach("received_before_keep")
        self._intake.submit(delivery, functools.partial(self._after_intake, delivery, settle))

    def keep(self, delivery: Delivery) -> Place:
        """Return where the delivery is kept now. Raises NothingStored; even then it may have been."""
        kept: Future[Outcome] = Future()
        self.submit(delivery, kept.set_result)
        try:
            outcome = kept.result(self._seconds)
        except TimeoutError:
            raise NothingStored(f"no store answered within {self._seconds} s") from None
        if isinstance(outcome, NothingStored):
            raise outcome
        return outcome

    def readiness(self) -> dict[str, str]:
        """What each store says; the spool is asked only where the intake cannot do it. Any "writable" will do."""
        answers = {"intake": _answer(self._intake)}
        if answers["intake"] != WRITABLE:
            answers["spool"] = _answer(self._spool)
        return answers

    def _after_intake(self, delivery: Delivery, settle: Callable[[Outcome], None], no_intake: Exception | None) -> None:
        if no_intake is None:
            settle("intake")
        else:
            self._spool.submit(delivery, functools.partial(_after_spool, settle, no_intake))


def _after_spool(settle: Callable[[Outcome], None], no_intake: Exception, no_spool: Exception | None) -> None:
    settle("spool" if no_spool is None else NothingStored(f"intake: {no_intake}; spool: {no_spool}"))


def _answer(store: KeepsDeliveries) -> str:
    try:
        store.check()
    except StoreUnavailable:
        return AWAY  # why is in the log: anybody can ask the door
    return WRITABLE


def open_keeper(settings: Settings) -> Keeper:
    """The keeper on REDIS_URL and DATABASE_URL, for many threads. Connects to neither before it is used."""
    bell = _bell(settings)
    intake = WithDeadline(IntakeStore(_intake(settings), bell.ring), seconds=INTAKE_SECONDS)
    return Keeper(intake=InThread("intake", intake), spool=_spool(settings, bell))


def open_keeper_in_loop(settings: Settings) -> Keeper:
    """The same for an event loop, which alone may submit."""
    bell = _bell(settings)
    intake = LoopIntakeStore(open_intake_in_loop(settings, seconds=INTAKE_SECONDS), _intake(settings), bell.ring)
    return Keeper(intake=InLoop("intake", intake), spool=_spool(settings, bell))


def _bell(settings: Settings) -> Bell:
    return Bell(functools.partial(send, celery_app(settings, door=True), RECORD_INTAKE))


def _intake(settings: Settings) -> Intake:
    return open_intake(settings, connect_seconds=INTAKE_SECONDS / 2, answer_seconds=INTAKE_SECONDS)


def _spool(settings: Settings, bell: Bell) -> InThread:
    spool = WithDeadline(SpoolStore(settings.database_url.get_secret_value()), seconds=SPOOL_SECONDS)
    return InThread("spool", RingingSpool(spool, bell.ring))
