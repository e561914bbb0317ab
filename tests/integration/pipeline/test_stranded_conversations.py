"""Actions that wait for nothing are found in batches, and the batches reach all of them in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.db.tasks import rescue

if TYPE_CHECKING:
    from tests.integration.pipeline.harness import Harness

COMPANY = "cmp_acme"


@pytest.fixture
def conversations(harness: Harness) -> list[str]:
    """Three conversations with stored files, whose actions were not released."""
    tenant = harness.tenant(COMPANY, action="archive")
    harness.user(tenant, "ap@acme.example")
    to = [{"handle": "ap@acme.example", "role": "to"}]
    events = harness.send("inbound_received", COMPANY, recipients=to, count=3, attachment_count=1)
    harness.record()
    harness.sql("UPDATE attachments SET state = 'stored'")
    return [event["conversation_id"] for event in events]


def find_stranded(harness: Harness, *, after: int, limit: int) -> rescue.StrandedActions:
    return harness.resources.pool.run(lambda conn: rescue.stranded_conversations(conn, after=after, limit=limit))


def test_each_look_goes_on_where_the_last_one_ended(harness: Harness, conversations: list[str]) -> None:
    first = find_stranded(harness, after=0, limit=2)
    second = find_stranded(harness, after=first.until, limit=2)
    assert [len(first.conversations), len(second.conversations)] == [2, 1]
    assert {conversation for _, conversation in first.conversations + second.conversations} == set(conversations)
    assert second.until == 0


@pytest.mark.usefixtures("conversations")
def test_a_look_that_finds_nobody_stranded_goes_on_too(harness: Harness) -> None:
    harness.sql("UPDATE attachments SET state = 'waiting'")
    first = find_stranded(harness, after=0, limit=2)
    assert first.conversations == []
    assert first.until > 0


def test_the_sweeper_releases_all_of_them(harness: Harness, conversations: list[str]) -> None:
    harness.sweep("release_stranded")
    assert harness.one("SELECT count(*) FROM tasks WHERE kind = 'apply_action' AND due_at <= now()") == len(
        conversations
    )
