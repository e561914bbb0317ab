"""Erases an e-mail address from all that was received before somebody asked for it, a slice at a time.

An event that the address wrote or got loses its content: body, files and their names. An event that only mentions it
keeps the rest. Rows stay, so that nothing is done twice: an action that is planned is carried out, since it needs no
address. Tasks that would bring the content back are discarded. What comes in later is new, and is kept as before.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.db.core.locks import lock_conversations
from shared.db.recording import spool
from shared.db.tasks import settling
from shared.db.tenants import address_erasures, address_places
from shared.db.tenants.address_erasures import Claimed
from shared.db.tenants.address_places import StoredEvent
from shared.errors import Fenced, MailroomError
from shared.subject_address import SubjectAddress
from workers.sweeping.retention import delete_files

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from workers.resources import Resources

SLICE_SECONDS = 10.0
EVENTS_AT_ONCE = 200
REASON = "the content was erased with the e-mail address of somebody who wrote or got it"
log = structlog.get_logger()


def erase_address(resources: Resources, erasure_id: int) -> None:
    """Go on with an erasure that nobody else carries out. Never raises: what is left is sent again."""
    try:
        claimed = resources.pool.run(partial(address_erasures.claim, erasure_id=erasure_id))
        if claimed is not None:
            _Slice(resources, claimed).run()
    except Fenced as exc:
        log.info("erasure_left", erasure_id=erasure_id, reason=str(exc))
    except MailroomError as exc:
        log.warning("erasure_left_to_the_sweeper", erasure_id=erasure_id, code=exc.code, reason=str(exc))


class _Slice:
    """The next part of an erasure."""

    def __init__(self, resources: Resources, erasure: Claimed):
        self._resources = resources
        self._erasure = erasure
        opened = resources.vault.open(address_erasures.owner(erasure.id), erasure.sealed)
        self._address = SubjectAddress.parse(opened["address"])
        self._reached = erasure.reached
        self._until_event = erasure.until_event

    def run(self) -> None:
        """Work until the time is over, or something must end first."""
        if self._until_event is None and not self._begin():
            self._give_back(address_erasures.REST_SECONDS)
            return
        until = time.monotonic() + SLICE_SECONDS
        while time.monotonic() < until and not self._resources.stop.is_set():
            if not self._resources.pool.run(self._next_events):
                self._finish()
                return
        self._give_back(0.0)

    def _begin(self) -> bool:
        """Fix the last event, once all that was received before is recorded. False while some of it waits."""
        age = (datetime.now(UTC) - self._erasure.requested_at).total_seconds()
        if self._resources.intake.oldest_age_seconds() >= age:
            return False
        self._until_event = self._resources.pool.run(self._fix_end)
        return self._until_event is not None

    def _fix_end(self, conn: Connection) -> int | None:
        address_erasures.extend(conn, self._erasure)
        oldest = spool.oldest(conn, 1)
        if oldest and oldest[0].delivery.received_at <= self._erasure.requested_at:
            return None
        until_event = address_places.last_event(conn)
        address_erasures.begin(conn, self._erasure, until_event)
        return until_event

    def _next_events(self, conn: Connection) -> bool:
        """Look at the next events. False when there are none."""
        address_erasures.extend(conn, self._erasure)
        found = address_places.events_after(
            conn,
            self._reached,
            until=self._until_event or 0,
            tenant_id=self._erasure.tenant_id,
            limit=EVENTS_AT_ONCE,
        )
        if not found:
            return False
        self._erase(conn, found)
        address_erasures.note_reached(conn, self._erasure, found[-1].id)
        self._reached = found[-1].id
        return True

    def _erase(self, conn: Connection, found: Sequence[StoredEvent]) -> None:
        parties = [event for event in found if self._is_party(event)]
        lock_conversations(conn, sorted({(event.tenant_id or 0, event.conversation_id) for event in parties}))
        running = address_places.lock_tasks(conn, [event.id for event in parties])
        cut = [event.id for event in parties if event.id not in running]
        address_places.cut_events(conn, cut, who=self._erasure.requested_by, reason=REASON)
        masked = {event.id for event in found if event.id not in {*cut, *running} and self._mask_bodies(conn, event)}
        rest = [event.id for event in found if event.id not in running]
        masked |= address_places.mask_events(conn, self._address.expression, self._erasure.mask, rest)
        for event_id in cut:
            settling.add_journal_entry(conn, event_id, "address_erased", who=self._erasure.requested_by, detail=REASON)
        address_erasures.note_events(conn, self._erasure, cut, "cut")
        address_erasures.note_events(conn, self._erasure, list(masked - {*cut}), "masked")
        address_erasures.note_events(conn, self._erasure, list(running), None)

    def _is_party(self, event: StoredEvent) -> bool:
        return self._address.is_party_of(event.handles, _read(event.body), _read(event.fetched))

    def _mask_bodies(self, conn: Connection, event: StoredEvent) -> bool:
        masked = {"body": self._masked(event.body), "fetched": self._masked(event.fetched)}
        address_places.replace_bodies(conn, event.id, body=masked["body"], fetched=masked["fetched"])
        return any(masked.values())

    def _masked(self, stored: bytes | None) -> bytes | None:
        body = _read(stored)
        if body is None or not self._address.is_in_body(body):
            return None
        return zlib.compress(self._address.masked_body(body, self._erasure.mask))

    def _finish(self) -> None:
        """Mask what belongs to no event, and end once nothing waits any more."""
        self._resources.pool.run(self._erase_waiting)
        delete_files(self._resources)
        if not self._resources.pool.run(self._end):
            self._give_back(address_erasures.REST_SECONDS)

    def _erase_waiting(self, conn: Connection) -> None:
        address_erasures.extend(conn, self._erasure)
        waiting = address_places.waiting_events(conn, self._erasure.id, limit=EVENTS_AT_ONCE)
        if waiting:
            self._erase(conn, waiting)

    def _end(self, conn: Connection) -> bool:
        erasure, address = self._erasure, self._address
        address_erasures.extend(conn, erasure)
        if address_erasures.waits_for_tasks(conn, erasure) or address_erasures.waits_for_files(conn, erasure):
            return False
        deleted = address_places.delete_owners(conn, address.key, tenant_id=erasure.tenant_id)
        address_erasures.note_rows(conn, erasure, deleted, "deleted")
        if erasure.tenant_id is None:
            digest = hashlib.sha256(address.key.encode()).digest()
            nameless = address_places.forget_account(conn, address.key, erasure.mask, digest=digest)
            address_erasures.note_rows(conn, erasure, nameless, "masked")
        masked = address_places.mask_others(conn, address.expression, erasure.mask, tenant_id=erasure.tenant_id)
        address_erasures.note_rows(conn, erasure, masked, "masked")
        address_erasures.end(conn, erasure)
        log.info("address_erased", erasure_id=erasure.id, tenant_id=erasure.tenant_id)
        return True

    def _give_back(self, seconds: float) -> None:
        self._resources.pool.run(partial(address_erasures.extend, erasure=self._erasure, seconds=seconds))


def _read(stored: bytes | None) -> bytes | None:
    return None if stored is None else zlib.decompress(stored)
