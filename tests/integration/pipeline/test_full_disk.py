"""A disk that is full: files wait and lose no attempt, everything else goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import StorageFull
from shared.storage import Storage, StoredFile
from tests.integration.pipeline.rig import Rig

NORA = "nora@acme.example"


class Disk(Storage):
    """Takes what has room."""

    def __init__(self, url: str):
        super().__init__(url)
        self.room = 0

    def put(self, path: str, chunks: Iterable[bytes]) -> StoredFile:
        content = b"".join(chunks)
        if len(content) > self.room:
            raise StorageFull("no space left; make room at STORAGE_URL")
        return super().put(path, [content])


@pytest.fixture
def disk(rig: Rig) -> Disk:
    rig.user(rig.tenant("cmp_acme"), NORA)
    disk = Disk(rig.settings.storage)
    rig.resources = replace(rig.resources, storage=disk)
    return disk


def mail(rig: Rig, count: int = 1, **order: Any) -> list[dict[str, Any]]:
    events = rig.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}], count=count, **order)
    rig.record()
    return events


def downloads(rig: Rig) -> int:
    return sum(call["path"].startswith("/download/") for call in rig.control("ledger/calls")["calls"])


def probe(rig: Rig) -> None:
    rig.sql("UPDATE outages SET probe_at = now()")
    rig.sweep("probe")
    rig.work()


def test_files_wait_for_room_without_losing_an_attempt_and_nothing_else_waits(rig: Rig, disk: Disk) -> None:
    full = mail(rig, 10, attachment_count=2)
    rig.work()
    assert rig.sql("SELECT what, code FROM outages") == [("storage", "storage_full")]
    asked = downloads(rig)
    [other] = mail(rig)
    rig.work()
    assert rig.status(other["conversation_id"]) == "archived"
    probe(rig)
    assert downloads(rig) == asked, "the storage is asked before a file is fetched for it"
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks WHERE kind = 'store_attachment'") == [("ready", 0)]
    disk.room = 2**30
    probe(rig)
    assert rig.sql("SELECT * FROM outages") == []
    assert rig.sql("SELECT DISTINCT state FROM events") == [("done",)]
    assert {rig.status(event["conversation_id"]) for event in full} == {"archived"}


def test_a_file_that_has_no_room_does_not_hold_up_smaller_ones(rig: Rig, disk: Disk) -> None:
    disk.room = 2**20
    mail(rig, attachments=[{"size": 2**21}])
    mail(rig, attachments=[{"size": 1_000}])
    rig.work()
    assert rig.sql("SELECT * FROM outages") == []
    assert rig.sql("SELECT state, code FROM tasks WHERE kind = 'store_attachment' ORDER BY id") == [
        ("ready", "storage_full"),
        ("done", None),
    ]
    disk.room = 2**30
    rig.hurry()
    rig.work()
    assert rig.sql("SELECT DISTINCT state FROM events") == [("done",)]
