"""Seals all stored tokens with the newest key, while workers refresh them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from shared.connection.vault import TokenVault, UnreadableSecret
from shared.db.core.pool import Connection
from shared.db.tenants import connections
from shared.db.tenants.connections import SealedSecret

BATCH = 200


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A tenant whose token does not open, and what to do about it."""

    tenant: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """How the stored tokens are sealed: `by_key` counts them for each of TOKEN_KEYS, the newest first."""

    by_key: tuple[int, ...]
    unreadable: tuple[Unreadable, ...]

    @property
    def tokens(self) -> int:
        """How many tokens are stored."""
        return sum(self.by_key) + len(self.unreadable)

    @property
    def older(self) -> int:
        """How many open, though not with the newest key."""
        return sum(self.by_key[1:])

    @property
    def unused_keys(self) -> list[int]:
        """The positions in TOKEN_KEYS, from 2 on, of keys with which no token is sealed any more."""
        return [position for position, count in enumerate(self.by_key[1:], 2) if not count]


def survey(conn: Connection, vault: TokenVault) -> Keyring:
    """Look at every stored token."""
    keys: Counter[int] = Counter()
    unreadable: list[Unreadable] = []
    for batch in connections.sealed_batches(conn, size=BATCH):
        for sealed in batch:
            try:
                keys[vault.key_position(sealed.tenant_id, sealed.secret)] += 1
            except UnreadableSecret as error:
                unreadable.append(Unreadable(tenant=sealed.name, reason=str(error)))
    return Keyring(by_key=tuple(keys[position] for position in range(vault.key_count)), unreadable=tuple(unreadable))


def reseal(conn: Connection, vault: TokenVault, advance: Callable[[int], None]) -> int:
    """Seal with the newest key what was sealed with an older one; how many. `advance` is told of each batch.

    A token that was replaced while it was looked at is left as it is. A run that was broken off loses nothing: each
    batch is kept by itself, and the next run finds what is left.
    """
    resealed = 0
    for batch in connections.sealed_batches(conn, size=BATCH):
        old = {sealed.tenant_id: sealed.secret for sealed in batch}
        new = {sealed.tenant_id: anew for sealed in batch if (anew := _sealed_anew(vault, sealed))}
        resealed += connections.replace_sealed(conn, old, new)
        advance(len(batch))
    return resealed


def _sealed_anew(vault: TokenVault, sealed: SealedSecret) -> bytes | None:
    """None where there is nothing to do, or nothing that can be done."""
    try:
        if vault.key_position(sealed.tenant_id, sealed.secret) == 0:
            return None
        return vault.seal(sealed.tenant_id, vault.open(sealed.tenant_id, sealed.secret))
    except UnreadableSecret:
        return None
