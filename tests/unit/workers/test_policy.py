"""What is done to the conversation: whose wish wins, and when nothing is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models import AddressOwner
from tests.unit.workers.people import CONNECTED, EMITTED, NORA, NOW, OMAR, tenant
from workers.policy import LEAST_DESTRUCTIVE_FIRST, plan_action

POLICY = "the tenant's policy"
OF_TWO = "the least destructive of 2 users' wishes"


def wishing(user: AddressOwner, action: str | None) -> AddressOwner:
    return replace(user, action=action)


@pytest.mark.parametrize(
    ("policy", "users", "kind", "state", "reason"),
    [
        ({"action": "archive"}, [NORA], "archive", "planned", POLICY),
        ({"action": "trash"}, [NORA], "trash", "planned", POLICY),
        ({"action": "tag:tag_1"}, [NORA], "tag:tag_1", "planned", POLICY),
        ({"action": "none"}, [NORA], "none", "skipped", f"no_action: {POLICY}"),
        # The user's own choice, milder or harsher than the tenant's
        ({"action": "trash"}, [wishing(NORA, "archive")], "archive", "planned", "the choice of user 17"),
        ({"action": "none"}, [wishing(NORA, "trash")], "trash", "planned", "the choice of user 17"),
        ({"action": "trash"}, [wishing(NORA, "none")], "none", "skipped", "no_action: the choice of user 17"),
        # Several who agree: nothing to weigh
        ({}, [NORA, OMAR], "archive", "planned", POLICY),
        ({}, [wishing(NORA, "archive"), OMAR], "archive", "planned", "the choice of user 17"),
        # Several who differ: the least destructive wins, whoever's it is
        ({}, [wishing(NORA, "trash"), OMAR], "archive", "planned", f"{POLICY}, {OF_TWO}"),
        (
            {"action": "trash"},
            [NORA, wishing(OMAR, "tag:tag_1")],
            "tag:tag_1",
            "planned",
            f"the choice of user 18, {OF_TWO}",
        ),
        (
            {"action": "trash"},
            [NORA, wishing(OMAR, "none")],
            "none",
            "skipped",
            f"no_action: the choice of user 18, {OF_TWO}",
        ),
        # Two tags destroy alike: the first user's
        (
            {},
            [wishing(OMAR, "tag:tag_2"), wishing(NORA, "tag:tag_1")],
            "tag:tag_2",
            "planned",
            f"the choice of user 18, {OF_TWO}",
        ),
        # Nobody
        ({}, [], "archive", "skipped", "nobody_matched: no recipient is a user of this tenant"),
        ({"only_when_matched": False}, [], "archive", "planned", POLICY),
        ({"only_when_matched": False, "action": "none"}, [], "none", "skipped", f"no_action: {POLICY}"),
    ],
)
def test_the_least_destructive_wish_wins(
    policy: dict[str, Any], users: list[AddressOwner], kind: str, state: str, reason: str
) -> None:
    action = plan_action(tenant(**policy), users, emitted_at=EMITTED, now=NOW)
    assert (action.kind, action.state, action.reason) == (kind, state, reason)


@pytest.mark.parametrize(
    ("connected", "emitted", "within", "reason"),
    [
        # Before the tenant connected, by however little
        (
            CONNECTED,
            CONNECTED - timedelta(milliseconds=1),
            timedelta(days=30),
            "too_old: emitted before the tenant connected",
        ),
        (None, NOW, timedelta(days=7), "too_old: emitted before the tenant connected"),
        (
            CONNECTED,
            NOW - timedelta(days=7, milliseconds=1),
            timedelta(days=7),
            "too_old: emitted more than 7 days ago",
        ),
        (CONNECTED, NOW - timedelta(days=1), timedelta(hours=12), "too_old: emitted more than 0.5 days ago"),
    ],
)
def test_an_old_event_never_acts(connected: datetime | None, emitted: datetime, within: timedelta, reason: str) -> None:
    action = plan_action(tenant(connected_at=connected, act_within=within), [NORA], emitted_at=emitted, now=NOW)
    assert (action.state, action.reason) == ("skipped", reason)


@pytest.mark.parametrize(
    ("emitted", "within"),
    [
        # On the border of either side
        (CONNECTED, timedelta(days=30)),
        (NOW - timedelta(days=7), timedelta(days=7)),
        # Front's clock may be ahead of ours
        (NOW + timedelta(minutes=1), timedelta(days=7)),
    ],
)
def test_an_event_within_both_borders_acts(emitted: datetime, within: timedelta) -> None:
    action = plan_action(tenant(act_within=within), [NORA], emitted_at=emitted, now=NOW)
    assert action.state == "planned"


OTHER = "other_inbox: the policy is not for inb_2"
UNTOLD = "other_inbox: the policy is for some inboxes only, and the event does not say which it was in"


@pytest.mark.parametrize(
    ("only", "inboxes", "state", "reason"),
    [
        (None, (), "planned", POLICY),
        (None, ("inb_2",), "planned", POLICY),
        (["inb_1"], ("inb_1",), "planned", POLICY),
        (["inb_1", "inb_3"], ("inb_3",), "planned", POLICY),
        # In several inboxes at once: one of them is enough
        (["inb_1"], ("inb_2", "inb_1"), "planned", POLICY),
        (["inb_1"], ("inb_2",), "skipped", OTHER),
        # Nobody knows where it was: not acting can be made up for
        (["inb_1"], (), "skipped", UNTOLD),
    ],
)
def test_a_policy_for_some_inboxes_leaves_the_others_alone(
    only: list[str] | None, inboxes: tuple[str, ...], state: str, reason: str
) -> None:
    action = plan_action(tenant(only_inboxes=only), [NORA], emitted_at=EMITTED, now=NOW, inbox_ids=inboxes)
    assert (action.state, action.reason) == (state, reason)


@pytest.mark.parametrize("dry_run", [True, False])
def test_whether_it_is_a_dry_run_is_fixed_with_the_action(dry_run: bool) -> None:
    assert plan_action(tenant(dry_run=dry_run), [NORA], emitted_at=EMITTED, now=NOW).dry_run is dry_run


def test_a_skipped_action_still_says_what_it_would_have_been() -> None:
    action = plan_action(tenant(connected_at=None, action="trash"), [NORA], emitted_at=NOW, now=NOW)
    assert (action.kind, action.wait_for) == ("trash", "stored")


@pytest.mark.parametrize("wait_for", ["stored", "settled"])
def test_what_the_action_waits_for_is_fixed_with_it(wait_for: str) -> None:
    assert plan_action(tenant(wait_for=wait_for), [NORA], emitted_at=EMITTED, now=NOW).wait_for == wait_for


WISHES = st.lists(st.sampled_from([None, "none", "archive", "trash", "tag:tag_1"]), min_size=1, max_size=4)


@given(WISHES, st.sampled_from(["none", "archive", "trash", "tag:tag_1"]))
def test_nobody_gets_more_destroyed_than_wished_in_any_order(wishes: list[str | None], policy: str) -> None:
    users = [
        AddressOwner(user_id=i, external_id=str(i), active=True, action=w, position=1) for i, w in enumerate(wishes)
    ]
    plans = {
        plan_action(tenant(action=policy), order, emitted_at=EMITTED, now=NOW).kind for order in permutations(users)
    }
    mildest = min(
        (wish or policy for wish in wishes), key=lambda wish: LEAST_DESTRUCTIVE_FIRST.index(wish.partition(":")[0])
    )
    assert plans == {mildest}
