"""Which role may do what."""

from __future__ import annotations

import pytest

from console.access.actor import EVERYTHING, ROLES, Actor, NotAllowed, command_line_actor


def test_each_role_may_do_what_the_one_before_may() -> None:
    assert ROLES["viewer"] < ROLES["operator"] < ROLES["admin"] == EVERYTHING


def test_a_viewer_only_looks() -> None:
    assert ROLES["viewer"] == {"read"}


@pytest.mark.parametrize("verb", ["policy", "erase", "manage_accounts", "manage_tokens", "back_up"])
def test_what_cannot_be_taken_back_is_for_admins(verb: str) -> None:
    assert verb not in ROLES["operator"]


def test_an_actor_of_one_tenant_does_nothing_to_others() -> None:
    actor = Actor(name="nightly", via="api", verbs=EVERYTHING, tenant_id=1)
    assert (actor.may("pause", 1), actor.may("pause", 2), actor.may("manage_accounts")) == (True, False, False)


def test_a_refusal_says_what_may_not_be_done() -> None:
    viewer = Actor(name="eve@example.com", via="page", verbs=ROLES["viewer"])
    with pytest.raises(NotAllowed, match=r"eve@example\.com may not retry tasks"):
        viewer.require("retry")


def test_the_command_line_does_everything() -> None:
    command_line_actor("root").require("erase", 4)
