"""Front's teammates, inboxes and channels change users and shared addresses; manual entries are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.directory_changes import inbox_changes, teammate_changes
from shared.db.users.directory import KnownUser
from shared.front.objects import Channel, Inbox, Teammate
from shared.models import InboxAddress

NORA = Teammate(id="tea_nora", email="Nora@acme.example", name="Nora Lind", type="user", is_blocked=False)
OMAR = Teammate(id="tea_omar", email="omar@acme.example", name="Omar Diaz", type="user", is_blocked=False)
SYNCED = KnownUser(
    external_id="tea_nora",
    name="Nora Lind",
    origin="front",
    active=True,
    deactivated_by_front=False,
    addresses=["nora@acme.example"],
)
LEFT = replace(SYNCED, active=False, deactivated_by_front=True)
MANUAL = replace(SYNCED, external_id="17", origin="given")


@pytest.mark.parametrize(
    ("teammate", "known", "what", "why"),
    [
        (NORA, [], "added", "Nora@acme.example"),
        (NORA, [SYNCED], "unchanged", ""),
        (replace(NORA, name="Nora Berg"), [SYNCED], "changed", "was called Nora Lind"),
        (replace(NORA, email="n@acme.example"), [SYNCED], "changed", "now n@acme.example"),
        # The teammate is active in Front again
        (NORA, [LEFT], "changed", "active again"),
        # A sync never undoes a person's decision
        (NORA, [replace(SYNCED, active=False)], "left_alone", "somebody here set this user inactive"),
        (replace(NORA, is_blocked=True), [SYNCED], "deactivated", "blocked in Front"),
        (replace(NORA, is_blocked=True), [LEFT], "left_alone", "blocked in Front"),
        (replace(NORA, is_blocked=True), [], "left_alone", "blocked in Front"),
        (replace(NORA, type="rule"), [], "left_alone", "no person but of type rule"),
        (replace(NORA, type="visitor"), [SYNCED], "deactivated", "no person but of type visitor"),
        (replace(NORA, email=""), [], "left_alone", "has no e-mail address"),
        (replace(NORA, email="nora"), [SYNCED], "left_alone", "has no e-mail address"),
        # A manually added user has the address
        (NORA, [MANUAL], "left_alone", "Nora@acme.example belongs to user 17"),
        # A manually added user has the id
        (NORA, [replace(SYNCED, origin="given")], "left_alone", "this user was given by you"),
        (replace(NORA, is_blocked=True), [replace(SYNCED, origin="given")], "left_alone", "this user was given by you"),
    ],
)
def test_a_teammate_becomes_a_user_or_is_left_alone(
    teammate: Teammate, known: list[KnownUser], what: str, why: str
) -> None:
    (change,) = teammate_changes([teammate], known)
    assert (change.external_id, change.outcome, change.reason) == (teammate.id, what, why)


def test_a_user_who_left_front_is_set_inactive() -> None:
    (change,) = teammate_changes([], [SYNCED])
    assert (change.outcome, change.external_id, change.reason) == ("deactivated", "tea_nora", "gone from Front")


@pytest.mark.parametrize("known", [LEFT, MANUAL], ids=["inactive already", "never from Front"])
def test_an_inactive_or_manual_user_is_no_change(known: KnownUser) -> None:
    assert teammate_changes([], [known]) == []


def test_an_address_moves_from_a_blocked_teammate_to_its_new_owner() -> None:
    heir = replace(OMAR, email="nora@acme.example")
    found = teammate_changes([replace(NORA, is_blocked=True), heir], [SYNCED])
    assert [(change.external_id, change.outcome, change.address_key) for change in found] == [
        ("tea_nora", "deactivated", None),
        ("tea_omar", "added", "nora@acme.example"),
    ]


def test_two_teammates_may_swap_their_addresses() -> None:
    omar = replace(SYNCED, external_id="tea_omar", name="Omar Diaz", addresses=["omar@acme.example"])
    found = teammate_changes([replace(NORA, email=OMAR.email), replace(OMAR, email=NORA.email)], [SYNCED, omar])
    assert [(change.outcome, change.address_key) for change in found] == [
        ("changed", "omar@acme.example"),
        ("changed", "nora@acme.example"),
    ]


def test_the_first_of_two_teammates_with_one_address_gets_it() -> None:
    found = teammate_changes([NORA, replace(OMAR, email="NORA@acme.example")], [])
    assert [(change.outcome, change.reason) for change in found] == [
        ("added", "Nora@acme.example"),
        ("left_alone", "NORA@acme.example belongs to user tea_nora"),
    ]


INBOX = Inbox(id="inb_1", name="Support", is_private=False)
CHANNEL = Channel(id="cha_1", address="Support@acme.example", inbox_id="inb_1", is_private=False)
KNOWN = InboxAddress(key="support@acme.example", address="Support@acme.example", inbox_id="inb_1", inbox="Support")
GONE = "not shared in Front any more"
MAPPED = replace(KNOWN, user="17", user_active=True)


@pytest.mark.parametrize(
    ("inbox", "channel", "known", "what", "why"),
    [
        (INBOX, CHANNEL, [], "added", ""),
        (INBOX, CHANNEL, [KNOWN], "unchanged", ""),
        (INBOX, CHANNEL, [MAPPED], "unchanged", ""),
        (replace(INBOX, name="Help"), CHANNEL, [MAPPED], "changed", "was of Support"),
        # A person mapped the address before the first sync
        (INBOX, CHANNEL, [replace(MAPPED, inbox_id=None, inbox=None)], "changed", "was named by you"),
        # The channel or inbox is gone or no longer shared
        (
            INBOX,
            replace(CHANNEL, address="new@acme.example", is_private=True),
            [KNOWN],
            "removed",
            GONE,
        ),
        (INBOX, replace(CHANNEL, is_private=True), [KNOWN], "removed", GONE),
        (replace(INBOX, is_private=True), CHANNEL, [KNOWN], "removed", GONE),
        (INBOX, replace(CHANNEL, inbox_id=None), [KNOWN], "removed", GONE),
        # A sync never discards a person's mapping
        (
            replace(INBOX, is_private=True),
            CHANNEL,
            [MAPPED],
            "left_alone",
            f"{GONE}, but mapped to user 17",
        ),
    ],
)
def test_a_shared_address_follows_front(
    inbox: Inbox, channel: Channel, known: list[InboxAddress], what: str, why: str
) -> None:
    (change,) = inbox_changes([inbox], [channel], known)
    assert (change.address.key, change.outcome, change.reason) == ("support@acme.example", what, why)


@pytest.mark.parametrize(
    ("inbox", "channel"),
    [
        (replace(INBOX, is_private=True), CHANNEL),
        (INBOX, replace(CHANNEL, is_private=True)),
        (INBOX, replace(CHANNEL, inbox_id="inb_unseen")),
        # The channel is not for mail
        (INBOX, replace(CHANNEL, address="+41446681800")),
        (INBOX, replace(CHANNEL, address="")),
    ],
)
def test_a_private_or_other_channel_has_no_shared_address(inbox: Inbox, channel: Channel) -> None:
    assert inbox_changes([inbox], [channel], []) == []


def test_a_manually_added_address_is_never_removed() -> None:
    assert inbox_changes([], [], [replace(KNOWN, inbox_id=None)]) == []


def test_the_first_of_two_channels_with_one_address_names_the_inbox() -> None:
    other = replace(INBOX, id="inb_2", name="Sales")
    (change,) = inbox_changes([INBOX, other], [CHANNEL, replace(CHANNEL, id="cha_2", inbox_id="inb_2")], [])
    assert change.address.inbox == "Support"
