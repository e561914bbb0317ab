"""Decide how Front's teammates and shared inboxes change a tenant's users and addresses: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shared.addresses import match_key
from shared.models import InboxAddress

if TYPE_CHECKING:
    from shared.db.users.directory import KnownUser
    from shared.front.objects import Channel, Inbox, Teammate

PERSON: Final = "user"  # Front's type of a teammate who is a person

TeammateOutcome = Literal["added", "changed", "deactivated", "unchanged", "left_alone"]
InboxOutcome = Literal["added", "changed", "removed", "unchanged", "left_alone"]


@dataclass(frozen=True, kw_only=True)
class TeammateChange:
    """The change of one teammate's user, and the reason. The address is set only where the user gets it."""

    outcome: TeammateOutcome
    external_id: str
    name: str
    reason: str
    email: str | None = None
    address_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class InboxChange:
    """The change of one address of a shared inbox, and the reason."""

    outcome: InboxOutcome
    reason: str
    address: InboxAddress


def address_keys(teammates: Iterable[Teammate]) -> dict[str, str]:
    """Return the match key of each teammate's address, by teammate id; teammates without an address are left out."""
    keyed = ((teammate.id, match_key(teammate.email)) for teammate in teammates)
    return {teammate_id: key for teammate_id, key in keyed if key}


def teammate_changes(teammates: Sequence[Teammate], known: Sequence[KnownUser]) -> list[TeammateChange]:
    """Decide the change of each teammate's user, in Front's order, and of users whose teammate is gone."""
    by_id = {user.external_id: user for user in known}
    keys, claimed = address_keys(teammates), _addresses_of_given_users(known)
    changes = list[TeammateChange]()
    for teammate in teammates:
        key = keys.get(teammate.id)
        changes.append(_teammate_change(teammate, by_id.get(teammate.id), key, claimed.get(key or "")))
        if key and _may_match(teammate):
            claimed.setdefault(key, teammate.id)
    return [*changes, *_gone_teammates(known, {teammate.id for teammate in teammates})]


def _addresses_of_given_users(known: Iterable[KnownUser]) -> dict[str, str]:
    """Return the owner of each address that no sync may take."""
    return {key: user.external_id for user in known if user.origin == "given" for key in user.addresses}


def _may_match(teammate: Teammate) -> bool:
    return teammate.type == PERSON and not teammate.is_blocked


def _teammate_change(
    teammate: Teammate, user: KnownUser | None, key: str | None, claimant: str | None
) -> TeammateChange:
    if user and user.origin == "given":
        return _left_alone(teammate, "this user was given by you")
    if not _may_match(teammate):
        reason = "blocked in Front" if teammate.is_blocked else f"no person but of type {teammate.type}"
        return _deactivated(user, reason) if user and user.active else _left_alone(teammate, reason)
    if key is None:
        return _left_alone(teammate, "has no e-mail address")
    if claimant:
        return _left_alone(teammate, f"{teammate.email} belongs to user {claimant}")
    if user is None:
        return _with_address("added", teammate, key, reason=teammate.email)
    return _updated(teammate, user, key)


def _updated(teammate: Teammate, user: KnownUser, key: str) -> TeammateChange:
    if not user.active and not user.deactivated_by_front:
        return _left_alone(teammate, "somebody here set this user inactive")
    differences = [
        *([] if user.active else ["active again"]),
        *([] if user.name == teammate.name else [f"was called {user.name}"]),
        *([] if user.addresses == [key] else [f"now {teammate.email}"]),
    ]
    return _with_address("changed" if differences else "unchanged", teammate, key, reason=", ".join(differences))


def _with_address(outcome: TeammateOutcome, teammate: Teammate, key: str, *, reason: str) -> TeammateChange:
    return TeammateChange(
        outcome=outcome,
        external_id=teammate.id,
        name=teammate.name,
        reason=reason,
        email=teammate.email,
        address_key=key,
    )


def _gone_teammates(known: Iterable[KnownUser], teammate_ids: set[str]) -> Iterator[TeammateChange]:
    for user in known:
        if user.origin == "front" and user.active and user.external_id not in teammate_ids:
            yield _deactivated(user, "gone from Front")


def _deactivated(user: KnownUser, reason: str) -> TeammateChange:
    return TeammateChange(outcome="deactivated", external_id=user.external_id, name=user.name, reason=reason)


def _left_alone(teammate: Teammate, reason: str) -> TeammateChange:
    return TeammateChange(outcome="left_alone", external_id=teammate.id, name=teammate.name, reason=reason)


def inbox_changes(
    inboxes: Iterable[Inbox], channels: Iterable[Channel], known: Sequence[InboxAddress]
) -> list[InboxChange]:
    """Decide the change of each shared address, in Front's order, and of known addresses that Front no longer has."""
    by_key = {address.key: address for address in known}
    shared = _shared_addresses({inbox.id: inbox for inbox in inboxes if not inbox.is_private}, channels)
    changes = [_inbox_change(address, by_key.get(key)) for key, address in shared.items()]
    return [*changes, *_gone_addresses(known, shared)]


def _shared_addresses(inboxes: Mapping[str, Inbox], channels: Iterable[Channel]) -> dict[str, InboxAddress]:
    """Return the addresses of shared channels, by key; the first channel with an address determines its inbox."""
    found = dict[str, InboxAddress]()
    for channel in channels:
        key, inbox = match_key(channel.address), inboxes.get(channel.inbox_id or "")
        if key and inbox and not channel.is_private:
            found.setdefault(key, InboxAddress(key=key, address=channel.address, inbox_id=inbox.id, inbox=inbox.name))
    return found


def _inbox_change(address: InboxAddress, known: InboxAddress | None) -> InboxChange:
    if known is None:
        return InboxChange(outcome="added", reason="", address=address)
    if (known.inbox_id, known.inbox) == (address.inbox_id, address.inbox):
        return InboxChange(outcome="unchanged", reason="", address=known)
    reason = f"was of {known.inbox}" if known.inbox_id else "was named by you"
    return InboxChange(outcome="changed", reason=reason, address=address)


def _gone_addresses(known: Iterable[InboxAddress], shared: Mapping[str, InboxAddress]) -> Iterator[InboxChange]:
    """Remove addresses that Front gave and no longer has; those that people added or mapped stay theirs."""
    for address in known:
        if address.key in shared or address.inbox_id is None:
            continue
        if address.user is None:
            yield InboxChange(outcome="removed", reason="not shared in Front any more", address=address)
        else:
            reason = f"not shared in Front any more, but mapped to user {address.user}"
            yield InboxChange(outcome="left_alone", reason=reason, address=address)
