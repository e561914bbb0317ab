"""Decides which users a message was for: pure."""

from __future__ import annotations

from collections.abc import Iterable

from shared.addresses import bare_address, match_key
from shared.models import AddressOwner, Match, MatchedUser, Owners, Recipient, SharedInbox

MATCHED_ROLES = frozenset({"to", "cc", "bcc"})


def keys_to_look_up(recipients: Iterable[Recipient], *, fold_plus: bool) -> set[str]:
    """Return the address keys whose owners `match_recipients` needs."""
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
            if isinstance(owner, AddressOwner):
                return _match_owner(recipient, owner)
            return _match_shared_inbox(recipient, owner)
    return Match(recipient, None, f"no user with {' or '.join(keys)}" if keys else "not an address")


def _match_owner(recipient: Recipient, owner: AddressOwner) -> Match:
    if not owner.active:
        return Match(recipient, None, f"user {owner.external_id} is inactive")
    return Match(recipient, owner, f"{_shown(recipient)} = user {owner.external_id}, address {owner.position}")


def _match_shared_inbox(recipient: Recipient, inbox: SharedInbox) -> Match:
    """Match the inbox's user, else the tenant's default owner; with neither, say why for both."""
    place = f"{_shown(recipient)} = shared inbox" + (f" {inbox.name}" if inbox.name else "")
    user, default = inbox.user, inbox.default_owner
    if user and user.active:
        return Match(recipient=recipient, user=user, reason=f"{place} → user {user.external_id}")
    if default and default.active:
        return Match(recipient=recipient, user=default, reason=f"{place} → default owner, user {default.external_id}")
    why_not = f"{_why_not(user, 'no user')}, {_why_not(default, 'no default owner')}"
    return Match(recipient=recipient, user=None, reason=f"{place}, for nobody: {why_not}")


def _shown(recipient: Recipient) -> str:
    """Return role and handle as Front sent them, and how the handle was read where it has quotes around it."""
    handle, role = recipient
    bare = bare_address(handle)
    return f"{role} {handle}" if bare == handle.strip() else f"{role} {handle} (read as {bare})"


def _why_not(user: MatchedUser | None, if_none: str) -> str:
    return f"user {user.external_id} is inactive" if user else if_none


def _keys(handle: str, *, fold_plus: bool) -> tuple[str, ...]:
    """Return the keys to compare: the address itself, then without its tag if the tenant folds tags.

    Returns none for a handle that is no address.
    """
    exact = match_key(handle)
    if exact is None:
        return ()
    if not fold_plus or "+" not in exact:
        return (exact,)
    folded = match_key(handle, fold_plus=True)
    return (exact,) if folded in {exact, None} else (exact, str(folded))
