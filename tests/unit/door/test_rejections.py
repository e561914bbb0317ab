"""Rejected requests are counted by reason, with a few samples that tell nothing of sender or content."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from ingest.app import create_app
from ingest.rejections import MOST_SLOTS, RejectionLog, network
from ingest.server import Bodies, Server
from shared.errors import StoreUnavailable
from shared.rejected_requests import KEPT, SLOT_SECONDS
from shared.settings import Settings
from tests.unit.door.conftest import KEY, MAX_BYTES, NOW, signed, webhook
from tests.unit.door.rsgi import Headers, Scope, ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.rejected_requests import Counts, RejectedRequest
    from tests.unit.door.conftest import ListKeeper

BODY = b"the-secret-subject"


@dataclass
class ListStore:
    """A store that keeps what it gets in memory, and takes nothing while it is `away`."""

    counts: dict[int, dict[str, int]] = field(default_factory=dict)
    samples: dict[str, list[RejectedRequest]] = field(default_factory=dict)
    away: bool = False
    written: threading.Event = field(default_factory=threading.Event)

    def add(self, counts: Counts, samples: Mapping[str, Sequence[RejectedRequest]]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        for slot, by_reason in counts.items():
            of_slot = self.counts.setdefault(slot, {})
            for reason, count in by_reason.items():
                of_slot[reason] = of_slot.get(reason, 0) + count
        for reason, newest in samples.items():
            self.samples.setdefault(reason, []).extend(newest)
        self.written.set()

    @property
    def total(self) -> dict[str, int]:
        reasons = {reason for each in self.counts.values() for reason in each}
        return {reason: sum(each.get(reason, 0) for each in self.counts.values()) for reason in reasons}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> ListStore:
    return ListStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rejections(store: ListStore, clock: Clock) -> RejectionLog:
    """A log that writes only when a test calls `write`: its thread waits for an hour."""
    log = RejectionLog(store, now=clock)
    log._started = True
    return log


@pytest.fixture
def door(kept: ListKeeper, rejections: RejectionLog) -> Server:
    app = create_app(Settings(front_signing_keys=[KEY]), now=lambda: NOW, rejections=rejections)
    return Server(app, kept, Bodies(limit=MAX_BYTES, seconds=0.02, drain_seconds=0.01))  # type: ignore[arg-type]


AT = str(int(NOW * 1000))
CASES = {
    "invalid_signature": (webhook(BODY, signed(BODY, key="another")), "does not fit"),
    "missing_signature": (
        webhook(BODY, {"X-Front-Request-Timestamp": ""}),
        "Timestamp is missing: a webhook of a rule",
    ),
    "stale_timestamp": (webhook(BODY, at="0"), "s old"),
    "encoded_body": (webhook(BODY, {"Content-Encoding": "gzip"}), "does not decompress"),
    "body_too_large": (Scope(headers={"content-length": str(MAX_BYTES + 1)}), "MAX_BODY_BYTES"),
    "challenge_too_long": (webhook(BODY, {"X-Front-Challenge": "x" * 1001}), "X-Front-Challenge is over"),
    "method_not_allowed": (Scope(method="GET"), "method"),
}


@pytest.mark.parametrize("reason", CASES)
def test_a_rejected_request_is_counted_with_a_sample(
    door: Server, rejections: RejectionLog, store: ListStore, reason: str
) -> None:
    scope, detail = CASES[reason]
    answer = ask(door, scope, BODY)
    assert rejections.write()
    [sample] = store.samples[reason]
    assert store.total == {reason: 1}
    assert (sample.status, sample.network, detail in sample.detail) == (answer.status, "127.0.0.0/24", True)
    assert sample.at.timestamp() == pytest.approx(NOW)
    assert "secret-subject" not in str(sample)


@pytest.mark.parametrize(("headers", "is_like_fronts"), [(signed(BODY), True), ({"x": "y"}, False)])
def test_a_webhook_at_another_path_is_told_from_other_requests_and_the_path_is_not_kept(
    door: Server, rejections: RejectionLog, store: ListStore, headers: dict[str, str], is_like_fronts: bool
) -> None:
    sent = {name.lower(): value for name, value in headers.items()}
    ask(door, Scope(path="/connect/secret", headers=sent))
    rejections.write()
    [sample] = store.samples["not_found"]
    assert "correct the webhook URL" in sample.detail or not is_like_fronts
    assert "secret" not in str(sample)


def test_a_delivery_that_no_store_takes_is_counted(
    door: Server, kept: ListKeeper, rejections: RejectionLog, store: ListStore
) -> None:
    kept.down = True
    ask(door, webhook(BODY), BODY)
    rejections.write()
    assert store.total == {"nothing_stored": 1}
    assert "redis://secret" not in str(store.samples)


def test_a_body_that_does_not_come_is_counted(door: Server, rejections: RejectionLog, store: ListStore) -> None:
    ask(door, webhook(BODY), None)
    rejections.write()
    assert store.total == {"body_too_slow": 1}


def test_accepted_webhooks_are_not_counted(door: Server, rejections: RejectionLog, store: ListStore) -> None:
    assert ask(door, webhook(BODY), BODY).status == 200
    rejections.write()
    assert (store.total, store.samples) == ({}, {})


def test_the_size_is_that_of_the_body_or_the_announced_one(
    door: Server, rejections: RejectionLog, store: ListStore
) -> None:
    ask(door, webhook(BODY, {"X-Front-Signature": "x"}), BODY)
    ask(door, Scope(headers={"content-length": "20000"}), BODY)
    ask(door, Scope(path="/", headers=Headers([("transfer-encoding", "chunked")])), b"x")
    rejections.write()
    sizes = {reason: each[0].size for reason, each in store.samples.items()}
    assert sizes == {"invalid_signature": len(BODY), "body_too_large": 20_000, "not_found": None}


def test_a_flood_is_one_write_of_a_few_samples(door: Server, rejections: RejectionLog, store: ListStore) -> None:
    for _ in range(10 * KEPT):
        ask(door, Scope(path="/"))
    rejections.write()
    assert store.total == {"not_found": 10 * KEPT}
    assert len(store.samples["not_found"]) == KEPT


def test_what_a_store_did_not_take_is_written_later(rejections: RejectionLog, store: ListStore, clock: Clock) -> None:
    store.away = True
    for _ in range(3 * MOST_SLOTS):
        clock.now += SLOT_SECONDS
        note(rejections)
        assert not rejections.write()
    store.away = False
    note(rejections)
    assert rejections.write()
    assert (store.total, len(store.samples["not_found"])) == ({"not_found": MOST_SLOTS + 1}, KEPT)


def test_the_thread_writes_by_itself_and_goes_on_after_an_error(store: ListStore) -> None:
    class Odd(ListStore):
        def add(self, counts: Counts, samples: Mapping[str, Sequence[RejectedRequest]]) -> None:
            failed.set()
            self.__class__ = ListStore  # type: ignore[assignment]
            raise ValueError

    failed, odd = threading.Event(), Odd()
    log = RejectionLog(odd, every=0, pause=0)
    note(log)
    assert failed.wait(30)
    note(log)
    assert odd.written.wait(30)


def test_the_thread_tries_again_while_the_store_is_away(store: ListStore) -> None:
    store.away = True
    log = RejectionLog(store, every=0, pause=0.01)
    note(log)
    store.away = False
    assert store.written.wait(30)
    assert store.total == {"not_found": 1}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("[2001:db8:1:2:3::4]", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("", "unknown"),
        ("<script>", "unknown"),
    ],
)
def test_an_address_is_cut(address: str, expected: str) -> None:
    assert network(address) == expected


def note(rejections: RejectionLog) -> None:
    """Note a request to an unknown path."""
    from io import BytesIO

    environ = {"REMOTE_ADDR": "127.0.0.1", "wsgi.input": BytesIO()}
    rejections.note(environ, reason="not_found", status=404, detail="no webhook")
