"""Failed actions are undone, too: Front may have received them, and a retry would send them."""

from __future__ import annotations

import pytest

from shared.db.tasks import manual_changes
from tests.integration.pipeline.harness import NORA, Harness
from tests.integration.pipeline.test_undo import NOTHING, finish, receive, request_undo, states, undo_outcome


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def give_up(harness: Harness) -> None:
    """Fail the action and its task without an answer from Front."""
    harness.sql("UPDATE tasks SET state = 'failed', code = 'unclear_answer' WHERE kind = 'apply_action'")
    harness.sql("UPDATE actions SET state = 'failed', reason = 'unclear_answer'")


def retry(harness: Harness) -> None:
    task = harness.one("SELECT id FROM tasks WHERE kind = 'apply_action'")
    assert harness.resources.pool.run(lambda conn: manual_changes.retry(conn, [task], who="olga")) == [task]


@pytest.mark.parametrize("asked", ["before it failed", "after it failed"])
def test_an_action_that_failed_without_an_answer_is_undone_where_front_took_it(
    harness: Harness, tenant: int, asked: str
) -> None:
    harness.control("faults", {"kind": "reset_after", "method": "PATCH", "count": 1})
    [conversation] = receive(harness)
    harness.work()
    assert (states(harness), harness.status(conversation)) == ({"intent": 1}, "archived")
    if asked == "before it failed":
        assert request_undo(harness, tenant) == 1
        give_up(harness)
    else:
        give_up(harness)
        assert request_undo(harness, tenant) == 1
    finish(harness)
    assert harness.status(conversation) == "open"
    assert states(harness) == {"undone": 1}
    assert undo_outcome(harness, tenant) == NOTHING | {"undone": 1}
    retry(harness)
    finish(harness)
    assert harness.status(conversation) == "open"
    assert len(harness.writes()) == 2


def test_an_action_that_failed_before_it_was_sent_is_not_sent_by_a_retry(harness: Harness, tenant: int) -> None:
    harness.control("faults", {"kind": "404_heals", "method": "PATCH", "count": 1})
    [conversation] = receive(harness)
    harness.work()
    assert states(harness) == {"failed": 1}
    harness.clear_faults()
    writes = len(harness.writes())
    assert request_undo(harness, tenant) == 1
    assert undo_outcome(harness, tenant) == NOTHING | {"stopped": 1}
    retry(harness)
    finish(harness)
    assert harness.status(conversation) == "open"
    assert states(harness) == {"superseded": 1}
    assert len(harness.writes()) == writes
