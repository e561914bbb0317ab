"""Decides what Front's list of teammates changes about a tenant's users: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shared.addresses import match_key
from shared.models import InboxAddress

if TYPE_CHECKING:
    from shared.db.users.directory import KnownUser
    from shared.front.objects import Channel, Inbox, Teammate


PERSON: Final = "user"
What = Literal["added", "changed", "deactivated", "unchanged", "left_alone"]

InboxWhat = Literal["added", "changed", "removed", "unchanged", "left_alone"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of one teammate, and why; `address_key` only where the user gets this address."""

    what: What
    external_id: str
    name: str
    why: str
    email: str | None = None
    address_key: str | None = None


def address_keys(teammates: Iterable[Teammate]) -> dict[str, str]:
    """The address of each teammate in the form addresses are compared in, by id; whoever has none is missing."""
    keyed = ((teammate.id, match_key(teammate.email)) for teammate in teammates)
    return {teammate_id: key for teammate_id, key in keyed if key}


def changes(teammates: Sequence[Teammate], known: Sequence[KnownUser]) -> list[Change]:
    """What to do about each teammate, in Front's order, and about users who came from there and are gone."""
    by_id = {user.external_id: user for user in known}
    keys, claimed = address_keys(teammates), _given(known)
    found = list[Change]()
    for teammate in teammates:
        key = keys.get(teammate.id)
        found.append(_change(teammate, by_id.get(teammate.id), key, claimed.get(key or "")))
        if key and _may_match(teammate):
            claimed.setdefault(key, teammate.id)
    return [*found, *_gone(known, {teammate.id for teammate in teammates})]


def _given(known: Iterable[KnownUser]) -> dict[str, str]:
    """Which addresses no sync may take, and whose they are."""
    return {key: user.external_id for user in known if user.origin == "given" for key in user.addresses}


def _may_match(teammate: Teammate) -> bool:
    return teammate.type == PERSON and not teammate.is_blocked


def _change(teammate: Teammate, user: KnownUser | None, key: str | None, claimant: str | None) -> Change:
    if user and user.origin == "given":
        return _left(teammate, "this user was given by you")
    if not _may_match(teammate):
        why = "blocked in Front" if teammate.is_blocked else f"no person but of type {teammate.type}"
        return _deactivated(user, why) if user and user.active else _left(teammate, why)
    if key is None:
        return _left(teammate, "has no e-mail address")
    if claimant:
        return _left(teammate, f"{teammate.email} belongs to user {claimant}")
    if user is None:
        return Change(
            what="added",
            external_id=teammate.id,
            name=teammate.name,
            why=teammate.email,
            email=teammate.email,
            address_key=key,
        )
    return _updated(teammate, user, key)


def _updated(teammate: Teammate, user: KnownUser, key: str) -> Change:
    if not user.active and not user.deactivated_by_front:
        return _left(teammate, "somebody here set this user inactive")
    differences = [
        *([] if user.active else ["active again"]),
        *([] if user.name == teammate.name else [f"was called {user.name}"]),
        *([] if user.addresses == [key] else [f"now {teammate.email}"]),
    ]
    return Change(
        what="changed" if differences else "unchanged",
        external_id=teammate.id,
        name=teammate.name,
        why=", ".join(differences),
        email=teammate.email,
        address_key=key,
    )


def _gone(known: Iterable[KnownUser], there: set[str]) -> Iterator[Change]:
    for user in known:
        if user.origin == "front" and user.active and user.external_id not in there:
            yield _deactivated(user, "gone from Front")


def _deactivated(user: KnownUser, why: str) -> Change:
    return Change(what="deactivated", external_id=user.external_id, name=user.name, why=why)


def _left(teammate: Teammate, why: str) -> Change:
    return Change(what="left_alone", external_id=teammate.id, name=teammate.name, why=why)


@dataclass(frozen=True, kw_only=True)
class InboxChange:
    """What becomes of one address of a shared inbox, and why."""

    what: InboxWhat
    why: str
    address: InboxAddress


def inbox_changes(
    inboxes: Iterable[Inbox], channels: Iterable[Channel], known: Sequence[InboxAddress]
) -> list[InboxChange]:
    """What to do about each shared address, in Front's order, and about those that are no longer there."""
    there = {each.key: each for each in known}
    found = _shared({inbox.id: inbox for inbox in inboxes if not inbox.is_private}, channels)
    return [*(_inbox_change(address, there.get(key)) for key, address in found.items()), *_inbox_gone(known, found)]


def _shared(inboxes: Mapping[str, Inbox], channels: Iterable[Channel]) -> dict[str, InboxAddress]:
    """The addresses that people write to, by key; the first channel that has one names its inbox."""
    found = dict[str, InboxAddress]()
    for channel in channels:
        key, inbox = match_key(channel.address), inboxes.get(channel.inbox_id or "")
        if key and inbox and not channel.is_private:
            found.setdefault(key, InboxAddress(key=key, address=channel.address, inbox_id=inbox.id, inbox=inbox.name))
    return found


def _inbox_change(address: InboxAddress, known: InboxAddress | None) -> InboxChange:
    if known is None:
        return InboxChange(what="added", why="", address=address)
    if (known.inbox_id, known.inbox) == (address.inbox_id, address.inbox):
        return InboxChange(what="unchanged", why="", address=known)
    why = f"was of {known.inbox}" if known.inbox_id else "was named by you"
    return InboxChange(what="changed", why=why, address=address)


def _inbox_gone(known: Iterable[InboxAddress], found: Mapping[str, InboxAddress]) -> Iterator[InboxChange]:
    """What people named or mapped is theirs to remove."""
    for address in known:
        if address.key in found or address.inbox_id is None:
            continue
        if address.user is None:
            yield InboxChange(what="removed", why="not shared in Front any more", address=address)
        else:
            why = f"not shared in Front any more, but mapped to user {address.user}"
            yield InboxChange(what="left_alone", why=why, address=address)
