"""Encrypts tenants' tokens for the database, and binds each to its tenant."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from cryptography.fernet import Fernet, InvalidToken

from shared.errors import ConfigurationError, TransientError
from shared.process.scrub import remember

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

#: A worker opens the same few tokens for each of its tasks. The log hides as many (MAX_SECRETS in scrub.py).
_CACHE_SIZE = 256
#: A tenant's id, or a text that names something else that has a secret.
Owner: TypeAlias = int | str


class UnreadableSecret(TransientError):
    """A stored token cannot be decrypted for this tenant; check that TOKEN_KEYS still lists the key that sealed it."""

    code = "unreadable_secret"


def _key_id(key: str) -> str:
    """Return a part of the key's digest. A key has 256 random bits, so nobody finds it by trying."""
    return hashlib.sha256(b"mailroom token key " + key.encode()).hexdigest()[:12]


class TokenVault:
    """Encrypts with the newest key, and decrypts with any of the keys."""

    def __init__(self, keys: Sequence[SecretStr]):
        if not keys:
            raise ConfigurationError("TOKEN_KEYS is not set; `mailroom keys generate` prints a key")
        #: An id for each key, in order. It tells keys apart and nothing about them.
        self.key_ids = tuple(_key_id(key.get_secret_value()) for key in keys)
        self._fernets = [Fernet(key.get_secret_value()) for key in keys]
        self._opened = lru_cache(maxsize=_CACHE_SIZE)(self._open)

    @property
    def key_count(self) -> int:
        """Return the number of keys."""
        return len(self._fernets)

    def seal(self, owner: Owner, secret: dict[str, str]) -> bytes:
        """Encrypt a tenant's tokens, or another owner's secret. Only `open` with the same owner decrypts them."""
        remember(*secret.values())
        return self._fernets[0].encrypt(json.dumps({"tenant_id": owner, "secret": secret}).encode())

    def open(self, owner: Owner, sealed: bytes) -> dict[str, str]:
        """Decrypt what was sealed. Raises UnreadableSecret for a wrong key, a wrong owner or damaged content."""
        secret: dict[str, str] = dict(self._opened(owner, sealed)[1])
        remember(*secret.values())
        return secret

    def key_position(self, owner: Owner, sealed: bytes) -> int:
        """Return the position of the key that sealed it; 0 is the newest. Raises UnreadableSecret as `open` does."""
        return self._opened(owner, sealed)[0]

    def _open(self, owner: Owner, sealed: bytes) -> tuple[int, Any]:
        """Return the position of the key, and the content. A Fernet token names no key, so each key is tried."""
        for position, fernet in enumerate(self._fernets):
            try:
                content = json.loads(fernet.decrypt(sealed))
            except InvalidToken:
                continue
            if content["tenant_id"] != owner:
                raise UnreadableSecret(_copied(owner))
            return position, content["secret"]
        raise UnreadableSecret(f"{_named(owner)} was sealed with another key; check TOKEN_KEYS, or {_remedy(owner)}")


def _copied(owner: Owner) -> str:
    kind, table = ("tenant", "connections") if isinstance(owner, int) else ("endpoint", "endpoints")
    return (
        f"{_named(owner)} belongs to another {kind}; {_remedy(owner)}, then look into who changed the table `{table}` "
        "(TOKEN_KEYS are fine)"
    )


def _named(owner: Owner) -> str:
    return f"the token of tenant {owner}" if isinstance(owner, int) else f"the secret of {owner}"


def _remedy(owner: Owner) -> str:
    return "connect again" if isinstance(owner, int) else "rotate it"
