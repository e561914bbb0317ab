"""What failed is undone with the rest: it may have been sent, and a retry would send it."""

from __future__ import annotations

import pytest

from shared.db.tasks import manual_changes
from tests.integration.pipeline.rig import NORA, Rig
from tests.integration.pipeline.test_undo import NOTHING, ask, came_of_it, finish, receive, states


@pytest.fixture
def tenant(rig: Rig) -> int:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    return tenant


def given_up(rig: Rig) -> None:
    """The action was tried for so long that its task failed."""
    rig.sql("UPDATE tasks SET state = 'failed', code = 'unclear_answer' WHERE kind = 'apply_action'")
    rig.sql("UPDATE actions SET state = 'failed', reason = 'unclear_answer'")


def retry(rig: Rig) -> None:
    task = rig.one("SELECT id FROM tasks WHERE kind = 'apply_action'")
    assert rig.resources.pool.run(lambda conn: manual_changes.retry(conn, [task], who="olga")) == [task]


@pytest.mark.parametrize("asked", ["before it failed", "after it failed"])
def test_an_action_that_failed_without_an_answer_is_undone_where_front_took_it(
    rig: Rig, tenant: int, asked: str
) -> None:
    rig.control("faults", {"kind": "reset_after", "method": "PATCH", "count": 1})
    [conversation] = receive(rig)
    rig.work()
    assert (states(rig), rig.status(conversation)) == ({"intent": 1}, "archived")
    if asked == "before it failed":
        assert ask(rig, tenant) == 1
        given_up(rig)
    else:
        given_up(rig)
        assert ask(rig, tenant) == 1
    finish(rig)
    assert rig.status(conversation) == "open"
    assert states(rig) == {"undone": 1}
    assert came_of_it(rig, tenant) == NOTHING | {"undone": 1}
    retry(rig)
    finish(rig)
    assert rig.status(conversation) == "open"
    assert len(rig.writes()) == 2


def test_an_action_that_failed_before_it_was_sent_is_not_sent_by_a_retry(rig: Rig, tenant: int) -> None:
    rig.control("faults", {"kind": "404_heals", "method": "PATCH", "count": 1})
    [conversation] = receive(rig)
    rig.work()
    assert states(rig) == {"failed": 1}
    rig.heal()
    writes = len(rig.writes())
    assert ask(rig, tenant) == 1
    assert came_of_it(rig, tenant) == NOTHING | {"stopped": 1}
    retry(rig)
    finish(rig)
    assert rig.status(conversation) == "open"
    assert states(rig) == {"superseded": 1}
    assert len(rig.writes()) == writes
