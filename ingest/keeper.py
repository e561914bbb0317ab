"""Keeps a delivery in the first store that takes it, within the time Front gives us."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, Protocol

from ingest.bell import Bell
from ingest.deadline import WithDeadline
from ingest.group_commit import GroupCommit
from ingest.stores import InboxStore, RingingSpool
from shared.db.spool_store import SpoolStore
from shared.errors import NothingStored, StoreUnavailable
from shared.inbox import open_inbox
from shared.queue import RECORD_INBOX, celery_app, send

if TYPE_CHECKING:
    from shared.models import Delivery
    from shared.settings import Settings

Place = Literal["inbox", "spool"]
WRITABLE = "writable"
AWAY = "away"

# Together well under the 2 s in which every request is answered; Front itself waits about 5 s.
INBOX_SECONDS = 0.4
SPOOL_SECONDS = 0.8


class KeepsDeliveries(Protocol):
    """One store as requests see it."""

    def put(self, delivery: Delivery) -> None:
        """Return when it is kept. Raises StoreUnavailable."""

    def check(self) -> None:
        """Raise StoreUnavailable unless writes are taken now."""


class Keeper:
    """The inbox, and the spool while the inbox does not answer in time."""

    def __init__(self, *, inbox: KeepsDeliveries, spool: KeepsDeliveries) -> None:
        self._inbox = inbox
        self._spool = spool

    def keep(self, delivery: Delivery) -> Place:
        """Return where the delivery is kept now. Raises NothingStored; even then it may have been.

        After a timeout it can be in both: the recorder tells by the id that they are one.
        """
        try:
            self._inbox.put(delivery)
        except StoreUnavailable as no_inbox:
            try:
                self._spool.put(delivery)
            except StoreUnavailable as no_spool:
                raise NothingStored(f"inbox: {no_inbox}; spool: {no_spool}") from no_spool
            return "spool"
        return "inbox"

    def readiness(self) -> dict[str, str]:
        """What each store says; the spool is asked only where the inbox cannot do it. Any "writable" will do."""
        answers = {"inbox": _answer(self._inbox)}
        if answers["inbox"] != WRITABLE:
            answers["spool"] = _answer(self._spool)
        return answers


def _answer(store: KeepsDeliveries) -> str:
    try:
        store.check()
    except StoreUnavailable:
        return AWAY  # why is in the log: anybody can ask the door
    return WRITABLE


def open_keeper(settings: Settings) -> Keeper:
    """The keeper on REDIS_URL and DATABASE_URL. Connects to neither before it is used."""
    bell = Bell(functools.partial(send, celery_app(settings, door=True), RECORD_INBOX))
    inbox = open_inbox(settings, connect_seconds=INBOX_SECONDS / 2, answer_seconds=INBOX_SECONDS)
    spool = WithDeadline(SpoolStore(settings.database_url.get_secret_value()), seconds=SPOOL_SECONDS)
    return Keeper(
        inbox=GroupCommit("inbox", InboxStore(inbox, bell.ring), patience=INBOX_SECONDS),
        spool=GroupCommit("spool", RingingSpool(spool, bell.ring), patience=SPOOL_SECONDS),
    )
