"""What Front's inboxes and channels do to the shared addresses: they come, change and go; mappings stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.directory_changes import inbox_changes
from shared.front.objects import Channel, Inbox
from shared.models import InboxAddress

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
        # Somebody mapped the address before Front's list was read
        (INBOX, CHANNEL, [replace(MAPPED, inbox_id=None, inbox=None)], "changed", "was named by you"),
        # Gone, or not shared any more
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
        # A person's choice is not thrown away by a sync
        (
            replace(INBOX, is_private=True),
            CHANNEL,
            [MAPPED],
            "left_alone",
            f"{GONE}, but mapped to user 17",
        ),
    ],
)
def test_an_address_follows_front(
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
        # Other channels than mail
        (INBOX, replace(CHANNEL, address="+41446681800")),
        (INBOX, replace(CHANNEL, address="")),
    ],
)
def test_what_is_private_or_no_address_is_no_shared_address(inbox: Inbox, channel: Channel) -> None:
    assert inbox_changes([inbox], [channel], []) == []


def test_an_address_that_a_person_named_is_never_removed() -> None:
    assert inbox_changes([], [], [replace(KNOWN, inbox_id=None)]) == []


def test_the_first_of_two_channels_with_one_address_names_the_inbox() -> None:
    other = replace(INBOX, id="inb_2", name="Sales")
    (change,) = inbox_changes([INBOX, other], [CHANNEL, replace(CHANNEL, id="cha_2", inbox_id="inb_2")], [])
    assert change.address.inbox == "Support"
