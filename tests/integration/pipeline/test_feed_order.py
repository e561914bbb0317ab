"""A reader of the feed misses nothing, whatever order transactions commit in, and across a dump and a restore.

`FEED_ROWS=100000 FEED_HOLD=2 ./run test tests/integration/pipeline/test_feed_order.py` runs it at full size.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from console.feed_watch import number_and_look
from console.up.embedded import Postgres
from console.up.embedded.server import postgres_folder
from shared.db.core.pool import Pool, open_pool
from shared.db.host import feed, outbox
from shared.db.host.feed import FeedFilter
from shared.host.notification import Cursor, FeedReset
from shared.settings import Settings

ROWS = int(os.environ.get("FEED_ROWS", "6000"))
HOLD_SECONDS = float(os.environ.get("FEED_HOLD", "0.2"))
WRITERS = 8
CONVERSATIONS = 40
#: Transactions that a writer makes, about: the rows are spread over them.
TURNS = 40
ROLLED_BACK = 0.05
DEADLINE = 60.0 + 4 * TURNS * HOLD_SECONDS


class Item(NamedTuple):
    """A notification: its position, the conversation, and its number within the conversation."""

    position: int
    conversation: str
    number: int


@dataclass
class Reader:
    """Follows the feed as fast as it can, in a thread."""

    pool: Pool
    cursor: Cursor | None = None
    read: list[Item] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        while not self.stop.is_set():
            self.read_page()

    def read_to_the_end(self) -> None:
        """Read until nothing is left. Nobody writes any more."""
        while self.read_page() or self.pool.run(outbox.has_rows):
            pass

    def read_page(self) -> int:
        """Read one page, number what waits, and return the number of notifications."""
        self.pool.run(number_and_look)
        return self.pool.run(self._read)

    def _read(self, conn: Any) -> int:
        state = feed.state(conn)
        after = state.oldest.position if self.cursor is None else state.position_after(self.cursor)
        page = feed.page(conn, FeedFilter(), after=after, last=state.last_position, limit=100)
        found = {item.position: item for item in items(conn, page.positions)}
        self.read += [found[position] for position in page.positions]
        self.cursor = Cursor(state.epoch, page.until)
        return len(page.positions)


def items(conn: Any, positions: list[int] | None = None) -> list[Item]:
    """Return the notifications at these positions, or all, in their order."""
    rows = conn.execute(
        "SELECT position, conversation_id, (facts->>'number')::int FROM notifications"
        " WHERE %(positions)s::bigint[] IS NULL OR position = ANY(%(positions)s) ORDER BY position",
        {"positions": positions},
    )
    return [Item(*row) for row in rows]


def write(database: str, rows: int, seed: int, stop: threading.Event) -> None:
    """Announce notifications of random conversations; hold each transaction open for a while, and give some up."""
    chance = random.Random(seed)
    left = rows
    with psycopg.connect(database) as conn:
        while left > 0 and not stop.is_set():
            size = min(left, max(1, round(rows / TURNS * chance.uniform(0.5, 1.5))))
            conversation = f"cnv_{chance.randrange(CONVERSATIONS)}"
            conn.execute("SELECT lock_conversation(1, %s)", (conversation,))
            row = conn.execute(
                "UPDATE numbers SET last = last + %s WHERE conversation = %s RETURNING last", (size, conversation)
            ).fetchone()
            assert row
            conn.execute(
                "INSERT INTO outbox (conversation_id, type, facts)"
                " SELECT %s, 'ping', jsonb_build_object('number', n) FROM generate_series(%s::int, %s) n",
                (conversation, row[0] - size + 1, row[0]),
            )
            stop.wait(chance.uniform(0, HOLD_SECONDS))
            if chance.random() < ROLLED_BACK:
                conn.rollback()
            else:
                conn.commit()
                left -= size


def number_all_the_time(pool: Pool, stop: threading.Event) -> None:
    """Number as the sweeper does, beside the readers."""
    while not stop.wait(0.05):
        pool.run(outbox.number)


@contextmanager
def threads(*targets: Any) -> Iterator[list[threading.Thread]]:
    """Run each target in a thread; the caller ends them."""
    started = [threading.Thread(target=target, daemon=True) for target in targets]
    for each in started:
        each.start()
    yield started
    for each in started:
        each.join(DEADLINE)
        assert not each.is_alive()


def client(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's own programs."""
    path = Path(postgres_folder()) / program
    subprocess.run([str(path), *arguments], check=True, timeout=DEADLINE)


def dump_and_restore(postgres: Postgres, database: str, folder: Path) -> str:
    """Dump the database while others write, restore it as another one, and return that one's URL."""
    dump, restored = folder / "dump", postgres.url_of("restored")
    client("pg_dump", "--format=custom", f"--file={dump}", database)
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE restored")
    client("pg_restore", "--no-owner", f"--dbname={restored}", str(dump))
    return restored


def assert_whole_and_in_order(found: list[Item]) -> None:
    """Every position once and in order, and within each conversation every number once and in order."""
    assert [item.position for item in found] == list(range(1, len(found) + 1))
    by_conversation: dict[str, list[int]] = {}
    for item in found:
        by_conversation.setdefault(item.conversation, []).append(item.number)
    assert {
        name: numbers for name, numbers in by_conversation.items() if numbers != list(range(1, len(numbers) + 1))
    } == {}


@pytest.fixture
def pools() -> Iterator[Any]:
    opened: list[Pool] = []

    def open_for(database: str) -> Pool:
        opened.append(open_pool(Settings(database_url=database), size=4, application_name="feed test"))
        return opened[-1]

    yield open_for
    for each in opened:
        each.close()


def write_and_read(database: str, pool: Pool, rows: int, seed: int, during: Any = None) -> Reader:
    """Let all writers write so many rows together, and a reader follow them to the end."""
    reader, stop = Reader(pool), threading.Event()

    def writer(number: int) -> Any:
        return lambda: write(database, rows // WRITERS, seed + number, stop)

    with threads(reader.follow, lambda: number_all_the_time(pool, reader.stop)):
        with threads(*(writer(number) for number in range(WRITERS))):
            if during is not None:
                during(reader)
                stop.set()
        reader.stop.set()
    reader.read_to_the_end()
    return reader


@pytest.mark.timeout(0)
def test_a_reader_misses_nothing_across_late_commits_a_dump_and_a_restore(
    own_postgres: Postgres, pools: Any, tmp_path: Path
) -> None:
    from shared.db.core.migrate import migrate

    database = own_postgres.url
    migrate(database)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE numbers (conversation text PRIMARY KEY, last int NOT NULL DEFAULT 0)")
        conn.execute(
            "INSERT INTO numbers (conversation) SELECT 'cnv_' || n FROM generate_series(0, %s) n", (CONVERSATIONS - 1,)
        )
    restored: list[str] = []

    def restore_in_the_middle(reader: Reader) -> None:
        deadline = time.monotonic() + DEADLINE
        while len(reader.read) < ROWS // 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        restored.append(dump_and_restore(own_postgres, database, tmp_path))

    before = write_and_read(database, pools(database), ROWS, 1, restore_in_the_middle)
    old_pool = pools(database)
    assert before.read == old_pool.run(items)
    assert_whole_and_in_order(before.read)

    pool = pools(restored[0])
    pool.run(outbox.renew_epoch)
    with pytest.raises(FeedReset) as refused:
        Reader(pool, cursor=before.cursor).read_page()
    start = refused.value.start
    assert 0 < start.position < len(before.read)
    after = write_and_read(restored[0], pool, ROWS - ROWS // 2, 100)
    everything = pool.run(items)
    assert after.read == everything
    assert len(everything) >= ROWS
    resumed = Reader(pool, cursor=start)
    resumed.read_to_the_end()
    assert before.read[: start.position] + resumed.read == everything
    assert_whole_and_in_order(everything)
    print(
        f"\n{len(before.read)} read before the restore, {start.position} of them dumped, {len(everything)} in the end"
    )
