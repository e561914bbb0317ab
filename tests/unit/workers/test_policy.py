"""The policy and the users' choices decide the action, or why there is none."""

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


def choosing(user: AddressOwner, action: str | None) -> AddressOwner:
    return replace(user, action=action)


@pytest.mark.parametrize(
    ("policy", "users", "kind", "state", "reason"),
    [
        ({"action": "archive"}, [NORA], "archive", "planned", POLICY),
        ({"action": "trash"}, [NORA], "trash", "planned", POLICY),
        ({"action": "tag:tag_1"}, [NORA], "tag:tag_1", "planned", POLICY),
        ({"action": "none"}, [NORA], "none", "skipped", f"no_action: {POLICY}"),
        # The user's own choice, more or less destructive than the tenant's
        ({"action": "trash"}, [choosing(NORA, "archive")], "archive", "planned", "the choice of user 17"),
        ({"action": "none"}, [choosing(NORA, "trash")], "trash", "planned", "the choice of user 17"),
        ({"action": "trash"}, [choosing(NORA, "none")], "none", "skipped", "no_action: the choice of user 17"),
        # Several users agree
        ({}, [NORA, OMAR], "archive", "planned", POLICY),
        ({}, [choosing(NORA, "archive"), OMAR], "archive", "planned", "the choice of user 17"),
        # Several users differ, and the least destructive choice wins
        ({}, [choosing(NORA, "trash"), OMAR], "archive", "planned", f"{POLICY}, {OF_TWO}"),
        (
            {"action": "trash"},
            [NORA, choosing(OMAR, "tag:tag_1")],
            "tag:tag_1",
            "planned",
            f"the choice of user 18, {OF_TWO}",
        ),
        (
            {"action": "trash"},
            [NORA, choosing(OMAR, "none")],
            "none",
            "skipped",
            f"no_action: the choice of user 18, {OF_TWO}",
        ),
        # Two tags are equally destructive, so the first user's wins
        (
            {},
            [choosing(OMAR, "tag:tag_2"), choosing(NORA, "tag:tag_1")],
            "tag:tag_2",
            "planned",
            f"the choice of user 18, {OF_TWO}",
        ),
        # No user was matched
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
        # The event is from before the tenant connected
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
        # On the limit of either side
        (CONNECTED, timedelta(days=30)),
        (NOW - timedelta(days=7), timedelta(days=7)),
        # Front's clock may be ahead
        (NOW + timedelta(minutes=1), timedelta(days=7)),
    ],
)
def test_an_event_within_both_limits_acts(emitted: datetime, within: timedelta) -> None:
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
        # One of several inboxes is enough
        (["inb_1"], ("inb_2", "inb_1"), "planned", POLICY),
        (["inb_1"], ("inb_2",), "skipped", OTHER),
        # The inbox is unknown, and a skipped action can be made up for
        (["inb_1"], (), "skipped", UNTOLD),
    ],
)
def test_a_policy_for_some_inboxes_skips_the_others(
    only: list[str] | None, inboxes: tuple[str, ...], state: str, reason: str
) -> None:
    action = plan_action(tenant(only_inboxes=only), [NORA], emitted_at=EMITTED, now=NOW, inbox_ids=inboxes)
    assert (action.state, action.reason) == (state, reason)


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_action_stores_whether_it_is_a_dry_run(dry_run: bool) -> None:
    assert plan_action(tenant(dry_run=dry_run), [NORA], emitted_at=EMITTED, now=NOW).dry_run is dry_run


def test_a_skipped_action_keeps_its_kind() -> None:
    action = plan_action(tenant(connected_at=None, action="trash"), [NORA], emitted_at=NOW, now=NOW)
    assert (action.kind, action.wait_for) == ("trash", "stored")


@pytest.mark.parametrize("wait_for", ["stored", "settled"])
def test_an_action_stores_its_wait(wait_for: str) -> None:
    assert plan_action(tenant(wait_for=wait_for), [NORA], emitted_at=EMITTED, now=NOW).wait_for == wait_for


WISHES = st.lists(st.sampled_from([None, "none", "archive", "trash", "tag:tag_1"]), min_size=1, max_size=4)


@given(WISHES, st.sampled_from(["none", "archive", "trash", "tag:tag_1"]))
def test_no_action_is_more_destructive_than_any_choice_in_any_order(wishes: list[str | None], policy: str) -> None:
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
