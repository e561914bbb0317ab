"""The disk is full: files wait without a lost attempt, and all other work goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import StorageFull
from shared.storage import Storage, StoredFile
from tests.integration.pipeline.harness import Harness

NORA = "nora@acme.example"


class Disk(Storage):
    """A storage with limited room: a larger file raises StorageFull."""

    def __init__(self, url: str):
        super().__init__(url)
        self.room = 0

    def put(self, path: str, chunks: Iterable[bytes]) -> StoredFile:
        content = b"".join(chunks)
        if len(content) > self.room:
            raise StorageFull("no space left; make room at STORAGE_URL")
        return super().put(path, [content])


@pytest.fixture
def disk(harness: Harness) -> Disk:
    harness.user(harness.tenant("cmp_acme"), NORA)
    disk = Disk(harness.settings.storage)
    harness.resources = replace(harness.resources, storage=disk)
    return disk


def mail(harness: Harness, count: int = 1, **order: Any) -> list[dict[str, Any]]:
    events = harness.send(
        "inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}], count=count, **order
    )
    harness.record()
    return events


def downloads(harness: Harness) -> int:
    return sum(call["path"].startswith("/download/") for call in harness.control("ledger/calls")["calls"])


def probe(harness: Harness) -> None:
    harness.sql("UPDATE outages SET probe_at = now()")
    harness.sweep("probe")
    harness.work()


def test_files_wait_for_room_without_losing_an_attempt_and_nothing_else_waits(harness: Harness, disk: Disk) -> None:
    full = mail(harness, 10, attachment_count=2)
    harness.work()
    assert harness.sql("SELECT what, code FROM outages") == [("storage", "storage_full")]
    asked = downloads(harness)
    [other] = mail(harness)
    harness.work()
    assert harness.status(other["conversation_id"]) == "archived"
    probe(harness)
    assert downloads(harness) == asked, "the storage is asked before a file is fetched for it"
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks WHERE kind = 'store_attachment'") == [("ready", 0)]
    disk.room = 2**30
    probe(harness)
    assert harness.sql("SELECT * FROM outages") == []
    assert harness.sql("SELECT DISTINCT state FROM events") == [("done",)]
    assert {harness.status(event["conversation_id"]) for event in full} == {"archived"}


def test_a_file_that_has_no_room_does_not_hold_up_smaller_ones(harness: Harness, disk: Disk) -> None:
    disk.room = 2**20
    mail(harness, attachments=[{"size": 2**21}])
    mail(harness, attachments=[{"size": 1_000}])
    harness.work()
    assert harness.sql("SELECT * FROM outages") == []
    assert harness.sql("SELECT state, code FROM tasks WHERE kind = 'store_attachment' ORDER BY id") == [
        ("ready", "storage_full"),
        ("done", None),
    ]
    disk.room = 2**30
    harness.make_due()
    harness.work()
    assert harness.sql("SELECT DISTINCT state FROM events") == [("done",)]
