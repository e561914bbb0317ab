"""Companies whose data was erased, and how much still came from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class ErasedCompany:
    """A company whose data was erased. While deliveries are `dropped`, its app in Front still sends them."""

    company_id: str
    erased_at: datetime
    dropped: int
    last_dropped_at: datetime | None


def erased_among(conn: Connection, company_ids: Iterable[str]) -> set[str]:
    """Those of the companies whose data was erased."""
    rows = conn.execute("SELECT company_id FROM erased_companies WHERE company_id = ANY(%s)", (list(company_ids),))
    return {company_id for (company_id,) in rows}


def note_dropped(conn: Connection, deliveries: Mapping[str, int]) -> None:
    """Count the deliveries that were dropped, by company."""
    conn.execute(
        """
        UPDATE erased_companies e SET dropped = e.dropped + d.dropped, last_dropped_at = now()
        FROM unnest(%s::text[], %s::bigint[]) AS d(company_id, dropped) WHERE e.company_id = d.company_id
        """,
        (list(deliveries), list(deliveries.values())),
    )


def still_sending(conn: Connection) -> list[ErasedCompany]:
    """The erased companies of which deliveries had to be dropped, the latest first."""
    with conn.cursor(row_factory=class_row(ErasedCompany)) as cursor:
        return cursor.execute(
            "SELECT company_id, erased_at, dropped, last_dropped_at FROM erased_companies WHERE dropped > 0"
            " ORDER BY last_dropped_at DESC"
        ).fetchall()
