"""A real door counts what it rejects in Redis, at no cost to PostgreSQL, and goes on when Redis was away."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg

from bench.harness.processes import wait_until
from console.rejected import read_rejected
from shared.errors import StoreUnavailable
from shared.rejected_requests import KEPT, RejectedRequests
from shared.settings import Settings
from tests.integration.door.door_process import KEY, Door, signed

if TYPE_CHECKING:
    from console.up.embedded import Postgres, Valkey

HOSTILE = {"X-Front-Signature": "<script>", "X-Front-Request-Timestamp": "<script>", "User-Agent": "<script>"}
FLOOD = 500


def of_last_hour(redis_url: str) -> dict[str, int]:
    return {each.reason: each.last_hour for each in RejectedRequests(redis_url).read(time.time())}


def rows_written(database_url: str) -> int:
    """Return how many rows were inserted or changed in the database so far."""
    with psycopg.connect(database_url) as conn:
        conn.execute("SELECT pg_stat_clear_snapshot()")
        row: Any = conn.execute("SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0) FROM pg_stat_user_tables").fetchone()
    return int(row[0])


def test_requests_of_strangers_are_counted_with_samples(door: Door, own_postgres: Postgres, own_valkey: Valkey) -> None:
    before = rows_written(own_postgres.url)
    for _ in range(FLOOD):
        assert door.request("POST", "/webhooks/front", b"the-secret-subject", HOSTILE).status == 401
    door.request("POST", "/script", b"{}", signed(b"{}"))
    door.request("GET", "/webhooks/front")
    door.request("POST", "/webhooks/front", b"{}")
    assert door.post().status == 200
    expected = {"invalid_signature": FLOOD, "not_found": 1, "method_not_allowed": 1, "missing_signature": 1}
    assert wait_until(lambda: of_last_hour(own_valkey.url) == expected, seconds=30)
    found = read_rejected(Settings(redis_url=own_valkey.url, front_signing_keys=[KEY.decode()]))  # type: ignore[arg-type]
    assert [len(each.samples) for each in found.reasons] == [KEPT, 1, 1, 1]
    assert "script" not in str(found)
    assert "secret-subject" not in str(found)
    assert "correct the webhook URL" in str(found)
    assert rows_written(own_postgres.url) == before


def test_counts_wait_while_redis_is_away(door: Door, own_valkey: Valkey) -> None:
    own_valkey.stop()
    for _ in range(3):
        assert door.request("GET", "/favicon.ico").status == 404
    own_valkey.start()

    def are_counted() -> bool:
        with suppress(StoreUnavailable):  # a server that has just started may take long to answer
            return of_last_hour(own_valkey.url) == {"not_found": 3}
        return False

    assert wait_until(are_counted, seconds=60)
