"""Notes which events the Front app sends webhooks of: what it never sent is no gap when it is missing."""

from __future__ import annotations

from collections.abc import Iterable, Set

from shared.db import seen_types
from shared.db.pool import Connection
from shared.front.envelope import is_known
from workers.recording.read import Parsed


class SeenTypes:
    """The types whose rows are known to be committed: of those no statement is sent any more."""

    def __init__(self) -> None:
        self._kept: set[str] = set()

    def note(self, conn: Connection, seen: Set[str]) -> None:
        """Keep types that came by webhook, in the transaction that records: once, it may still be rolled back."""
        if unsure := seen - self._kept:
            self._kept |= unsure - seen_types.add(conn, unsure)


def came_by_webhook(parsed: Iterable[Parsed]) -> set[str]:
    """The types among them that Front sends webhooks of."""
    seen = {item.envelope.type for item in parsed if item.incoming.origin != "repaired"}
    return {each for each in seen if is_known(each)}
