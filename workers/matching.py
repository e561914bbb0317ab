"""Decides which users a message was for: pure."""

from __future__ import annotations

from collections.abc import Iterable

from shared.addresses import match_key
from shared.models import AddressOwner, Match, MatchedUser, Owners, Recipient, SharedInbox

MATCHED_ROLES = frozenset({"to", "cc", "bcc"})


def keys_to_look_up(recipients: Iterable[Recipient], *, fold_plus: bool) -> set[str]:
    """The address keys whose owners `match_recipients` needs."""
    return {key for r in recipients if r.role in MATCHED_ROLES for key in _keys(r.handle, fold_plus=fold_plus)}


def match_recipients(recipients: Iterable[Recipient], owners: Owners, *, fold_plus: bool) -> tuple[Match, ...]:
    """Pair each recipient with the user its address stands for, in order, always with a reason."""
    return tuple([_match(recipient, owners, fold_plus=fold_plus) for recipient in recipients])


def _match(recipient: Recipient, owners: Owners, *, fold_plus: bool) -> Match:
    handle, role = recipient
    if role not in MATCHED_ROLES:
        return Match(recipient, None, f"role {role} is never matched")
    keys = _keys(handle, fold_plus=fold_plus)
    for key in keys:
        if key in owners:
            owner = owners[key]
            return _owned(owner, recipient) if isinstance(owner, AddressOwner) else _through(owner, recipient)
    return Match(recipient, None, f"no user with {' or '.join(keys)}" if keys else "not an address")


def _owned(owner: AddressOwner, recipient: Recipient) -> Match:
    if not owner.active:
        return Match(recipient, None, f"user {owner.external_id} is inactive")
    handle, role = recipient
    return Match(recipient, owner, f"{role} {handle} = user {owner.external_id}, address {owner.position}")


def _through(inbox: SharedInbox, recipient: Recipient) -> Match:
    """The first who may stand for the inbox; without one, why each of the two does not."""
    place = f"{recipient.role} {recipient.handle} = shared inbox" + (f" {inbox.name}" if inbox.name else "")
    own, instead = inbox.user, inbox.default_owner
    if own and own.active:
        return Match(recipient=recipient, user=own, reason=f"{place} → user {own.external_id}")
    if instead and instead.active:
        return Match(recipient=recipient, user=instead, reason=f"{place} → default owner, user {instead.external_id}")
    return Match(
        recipient=recipient,
        user=None,
        reason=f"{place}, for nobody: {_absent('no user', own)}, {_absent('no default owner', instead)}",
    )


def _absent(nobody: str, user: MatchedUser | None) -> str:
    return f"user {user.external_id} is inactive" if user else nobody


def _keys(handle: str, *, fold_plus: bool) -> tuple[str, ...]:
    """The address itself first, then without its tag where the tenant folds tags; nothing for what is no address."""
    exact = match_key(handle)
    if exact is None:
        return ()
    if not fold_plus or "+" not in exact:
        return (exact,)
    folded = match_key(handle, fold_plus=True)
    return (exact,) if folded in {exact, None} else (exact, str(folded))
