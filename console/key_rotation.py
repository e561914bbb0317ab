"""Seal all stored tokens with the newest key, while workers refresh them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.connection.vault import Owner, TokenVault, UnreadableSecret
from shared.db.core.pool import Connection
from shared.db.host import endpoints
from shared.db.tenants import connections

BATCH = 200  # tokens


@dataclass(frozen=True, kw_only=True)
class UnreadableToken:
    """A tenant whose token cannot be opened, or an endpoint; the reason says what to do about it."""

    tenant: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class KeyUsage:
    """Which keys seal the stored tokens: `by_key` counts the tokens of each of TOKEN_KEYS, the newest key first."""

    by_key: tuple[int, ...]
    unreadable: tuple[UnreadableToken, ...]

    @property
    def tokens(self) -> int:
        """The number of stored tokens."""
        return sum(self.by_key) + len(self.unreadable)

    @property
    def older(self) -> int:
        """The number of tokens that only an older key opens."""
        return sum(self.by_key[1:])

    @property
    def unused_keys(self) -> list[int]:
        """The positions in TOKEN_KEYS, from 2 on, of keys that seal no token any more."""
        return [position for position, count in enumerate(self.by_key[1:], 2) if not count]


def key_usage(conn: Connection, vault: TokenVault) -> KeyUsage:
    """Find the key of every stored token, and of every secret of an endpoint."""
    keys: Counter[int] = Counter()
    unreadable: list[UnreadableToken] = []
    for owner, name, secret in _all_sealed(conn):
        try:
            keys[vault.key_position(owner, secret)] += 1
        except UnreadableSecret as error:
            unreadable.append(UnreadableToken(tenant=name, reason=str(error)))
    return KeyUsage(by_key=tuple(keys[position] for position in range(vault.key_count)), unreadable=tuple(unreadable))


def count_sealed(conn: Connection) -> int:
    """Count the stored tokens and secrets."""
    return connections.count_sealed(conn) + len(endpoints.sealed_secrets(conn))


def reseal(conn: Connection, vault: TokenVault, advance: Callable[[int], None]) -> int:
    """Seal all that an older key sealed with the newest one, and return how much. `advance` takes each batch's size.

    A token that was replaced meanwhile stays as it is. An interrupted run loses nothing: each batch is committed, and
    the next run seals the rest.
    """
    resealed = 0
    for batch in connections.sealed_batches(conn, size=BATCH):
        old = {sealed.tenant_id: sealed.secret for sealed in batch}
        new = {
            sealed.tenant_id: secret
            for sealed in batch
            if (secret := _resealed(vault, sealed.tenant_id, sealed.secret))
        }
        resealed += connections.replace_sealed(conn, old, new)
        advance(len(batch))
    for each in endpoints.sealed_secrets(conn):
        secret = _resealed(vault, endpoints.secret_owner(each.endpoint_id), each.secret)
        resealed += bool(secret and endpoints.replace_sealed(conn, each, secret))
        advance(1)
    return resealed


def _all_sealed(conn: Connection) -> Iterator[tuple[Owner, str, bytes]]:
    for batch in connections.sealed_batches(conn, size=BATCH):
        yield from ((sealed.tenant_id, sealed.name, sealed.secret) for sealed in batch)
    for each in endpoints.sealed_secrets(conn):
        yield endpoints.secret_owner(each.endpoint_id), f"endpoint {each.name}", each.secret


def _resealed(vault: TokenVault, owner: Owner, sealed: bytes) -> bytes | None:
    """Return the secret sealed with the newest key; None when it already is, or cannot be opened."""
    try:
        if vault.key_position(owner, sealed) == 0:
            return None
        return vault.seal(owner, vault.open(owner, sealed))
    except UnreadableSecret:
        return None
