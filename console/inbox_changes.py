"""Decides what Front's lists of inboxes and channels change about a tenant's shared addresses: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.addresses import match_key
from shared.inbox_address import InboxAddress

if TYPE_CHECKING:
    from shared.front.objects import Inbox
    from shared.front.people import Channel

What = Literal["added", "changed", "removed", "unchanged", "left_alone"]


@dataclass(frozen=True, kw_only=True)
class InboxChange:
    """What becomes of one address of a shared inbox, and why."""

    what: What
    why: str
    address: InboxAddress


def inbox_changes(
    inboxes: Iterable[Inbox], channels: Iterable[Channel], known: Sequence[InboxAddress]
) -> list[InboxChange]:
    """What to do about each shared address, in Front's order, and about those that are no longer there."""
    there = {each.key: each for each in known}
    found = _shared({inbox.id: inbox for inbox in inboxes if not inbox.is_private}, channels)
    return [*(_change(address, there.get(key)) for key, address in found.items()), *_gone(known, found)]


def _shared(inboxes: Mapping[str, Inbox], channels: Iterable[Channel]) -> dict[str, InboxAddress]:
    """The addresses that people write to, by key; the first channel that has one names its inbox."""
    found = dict[str, InboxAddress]()
    for channel in channels:
        key, inbox = match_key(channel.address), inboxes.get(channel.inbox_id or "")
        if key and inbox and not channel.is_private:
            found.setdefault(key, InboxAddress(key=key, address=channel.address, inbox_id=inbox.id, inbox=inbox.name))
    return found


def _change(address: InboxAddress, known: InboxAddress | None) -> InboxChange:
    if known is None:
        return InboxChange(what="added", why="", address=address)
    if (known.inbox_id, known.inbox) == (address.inbox_id, address.inbox):
        return InboxChange(what="unchanged", why="", address=known)
    why = f"was of {known.inbox}" if known.inbox_id else "was named by you"
    return InboxChange(what="changed", why=why, address=address)


def _gone(known: Iterable[InboxAddress], found: Mapping[str, InboxAddress]) -> Iterator[InboxChange]:
    """What people named or mapped is theirs to remove."""
    for address in known:
        if address.key in found or address.inbox_id is None:
            continue
        if address.user is None:
            yield InboxChange(what="removed", why="not shared in Front any more", address=address)
        else:
            why = f"not shared in Front any more, but mapped to user {address.user}"
            yield InboxChange(what="left_alone", why=why, address=address)
