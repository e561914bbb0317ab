"""Drops what still comes from companies whose data was erased."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from shared.db import tombstones
from shared.db.pool import Connection
from shared.ownership import claimed_company
from workers.recording.read import Parsed


def drop_erased(conn: Connection, parsed: Sequence[Parsed]) -> list[Parsed]:
    """What is to be recorded; the rest is counted and leaves nothing behind, also where it cannot be read."""
    companies = [_company(item) for item in parsed]
    erased = tombstones.erased_among(conn, {company for company in companies if company})
    if not erased:
        return list(parsed)
    tombstones.note_dropped(conn, Counter(company for company in companies if company in erased))
    return [item for item, company in zip(parsed, companies, strict=True) if company not in erased]


def _company(item: Parsed) -> str | None:
    return item.envelope.company_id or claimed_company(item.incoming.delivery.body)
