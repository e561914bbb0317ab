"""Keeps a delivery in the first store that takes it, within the time Front gives us."""

from __future__ import annotations

import functools
from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ingest.bell import Bell
from ingest.deadline import WithDeadline
from ingest.group_commit import InLoop, InThread
from ingest.stores import InboxStore, LoopInboxStore, RingingSpool
from shared import failpoints
from shared.db.spool_store import SpoolStore
from shared.errors import NothingStored, StoreUnavailable
from shared.inbox import open_inbox
from shared.inbox_in_loop import open_inbox_in_loop
from shared.queue import RECORD_INBOX, celery_app, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.inbox import Inbox
    from shared.models import Delivery
    from shared.settings import Settings

Place = Literal["inbox", "spool"]
WRITABLE = "writable"
AWAY = "away"

# For one write. A request pays at most for the inbox once and the spool once; Front itself waits about 5 s.
INBOX_SECONDS = 0.4
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
    """The inbox, and the spool while the inbox does not answer in time."""

    def __init__(self, *, inbox: KeepsDeliveries, spool: KeepsDeliveries, seconds: float = KEEP_SECONDS) -> None:
        self._inbox = inbox
        self._spool = spool
        self._seconds = seconds

    def submit(self, delivery: Delivery, settle: Callable[[Outcome], None]) -> None:
        """Return at once; `settle` hears from any thread, once, where the delivery is kept, or that it may not be.

        After a timeout it can be in both: the recorder tells by the id that they are one.
        """
        failpoints.reach("received_before_keep")
        self._inbox.submit(delivery, functools.partial(self._after_inbox, delivery, settle))

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
        """What each store says; the spool is asked only where the inbox cannot do it. Any "writable" will do."""
        answers = {"inbox": _answer(self._inbox)}
        if answers["inbox"] != WRITABLE:
            answers["spool"] = _answer(self._spool)
        return answers

    def _after_inbox(self, delivery: Delivery, settle: Callable[[Outcome], None], no_inbox: Exception | None) -> None:
        if no_inbox is None:
            settle("inbox")
        else:
            self._spool.submit(delivery, functools.partial(_after_spool, settle, no_inbox))


def _after_spool(settle: Callable[[Outcome], None], no_inbox: Exception, no_spool: Exception | None) -> None:
    settle("spool" if no_spool is None else NothingStored(f"inbox: {no_inbox}; spool: {no_spool}"))


def _answer(store: KeepsDeliveries) -> str:
    try:
        store.check()
    except StoreUnavailable:
        return AWAY  # why is in the log: anybody can ask the door
    return WRITABLE


def open_keeper(settings: Settings) -> Keeper:
    """The keeper on REDIS_URL and DATABASE_URL, for many threads. Connects to neither before it is used."""
    bell = _bell(settings)
    inbox = WithDeadline(InboxStore(_inbox(settings), bell.ring), seconds=INBOX_SECONDS)
    return Keeper(inbox=InThread("inbox", inbox), spool=_spool(settings, bell))


def open_keeper_in_loop(settings: Settings) -> Keeper:
    """The same for an event loop, which alone may submit."""
    bell = _bell(settings)
    inbox = LoopInboxStore(open_inbox_in_loop(settings, seconds=INBOX_SECONDS), _inbox(settings), bell.ring)
    return Keeper(inbox=InLoop("inbox", inbox), spool=_spool(settings, bell))


def _bell(settings: Settings) -> Bell:
    return Bell(functools.partial(send, celery_app(settings, door=True), RECORD_INBOX))


def _inbox(settings: Settings) -> Inbox:
    return open_inbox(settings, connect_seconds=INBOX_SECONDS / 2, answer_seconds=INBOX_SECONDS)


def _spool(settings: Settings, bell: Bell) -> InThread:
    spool = WithDeadline(SpoolStore(settings.database_url.get_secret_value()), seconds=SPOOL_SECONDS)
    return InThread("spool", RingingSpool(spool, bell.ring))
