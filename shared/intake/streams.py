"""The streams of the intake: their names, which one a delivery belongs into, and the names of their entries. Pure.

INTAKE_STREAMS is the number of streams among which the companies are divided. Another number is another division with
streams of its own, so a recorder can tell what was written before the number changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from shared.front.company_claim import claimed_company

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The only stream where INTAKE_STREAMS is 1.
STREAM = "mailroom:intake"
MOST_STREAMS = 8


def streams_of(count: int) -> tuple[str, ...]:
    """Return the names of the streams of a division."""
    return (STREAM,) if count == 1 else tuple(f"{STREAM}:{count}.{number}" for number in range(count))


#: Every stream of every division; the position of one is the number of its lock.
ALL_STREAMS = tuple(name for count in range(1, MOST_STREAMS + 1) for name in streams_of(count))


def division_of(stream: str) -> str:
    """Return a name for the division that the stream belongs to."""
    return stream.partition(".")[0]


def stream_for(body: bytes, streams: Sequence[str]) -> str:
    """Return the stream for the company of this body: always the same one, so its deliveries keep their order."""
    if len(streams) == 1:
        return streams[0]
    return streams[crc32((claimed_company(body) or "").encode()) % len(streams)]


def entry_name(stream: str, entry_id: str) -> str:
    """Return a name for an entry that no entry of another stream has; in the only stream it is the entry's id."""
    return entry_id if stream == STREAM else f"{stream.removeprefix(STREAM)}/{entry_id}"


def parse_entry_name(name: str) -> tuple[str, str]:
    """Return the stream and the id of the entry."""
    stream, _, entry_id = name.rpartition("/")
    return STREAM + stream, entry_id
