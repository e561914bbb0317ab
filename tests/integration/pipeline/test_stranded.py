"""Actions that wait for nothing are found some at a time, and in turns all are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.db.tasks import rescue

if TYPE_CHECKING:
    from tests.integration.pipeline.rig import Rig

COMPANY = "cmp_acme"


@pytest.fixture
def conversations(rig: Rig) -> list[str]:
    """Three, whose files were stored without anybody noticing."""
    tenant = rig.tenant(COMPANY, action="archive")
    rig.user(tenant, "ap@acme.example")
    to = [{"handle": "ap@acme.example", "role": "to"}]
    events = rig.send("inbound_received", COMPANY, recipients=to, count=3, attachment_count=1)
    rig.record()
    rig.sql("UPDATE attachments SET state = 'stored'")
    return [event["conversation_id"] for event in events]


def look(rig: Rig, *, after: int, limit: int) -> rescue.StrandedActions:
    return rig.resources.pool.run(lambda conn: rescue.stranded_conversations(conn, after=after, limit=limit))


def test_each_look_goes_on_where_the_last_one_ended(rig: Rig, conversations: list[str]) -> None:
    first = look(rig, after=0, limit=2)
    second = look(rig, after=first.until, limit=2)
    assert [len(first.conversations), len(second.conversations)] == [2, 1]
    assert {conversation for _, conversation in first.conversations + second.conversations} == set(conversations)
    assert second.until == 0


@pytest.mark.usefixtures("conversations")
def test_a_look_that_finds_nobody_stranded_goes_on_too(rig: Rig) -> None:
    rig.sql("UPDATE attachments SET state = 'waiting'")
    first = look(rig, after=0, limit=2)
    assert first.conversations == []
    assert first.until > 0


def test_the_sweeper_releases_all_of_them(rig: Rig, conversations: list[str]) -> None:
    rig.sweep("release_stranded")
    assert rig.one("SELECT count(*) FROM tasks WHERE kind = 'apply_action' AND due_at <= now()") == len(conversations)
