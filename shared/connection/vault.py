"""Encrypts tenants' tokens for the database, and binds each to its tenant."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken

from shared.errors import ConfigurationError, TransientError
from shared.process.scrub import remember

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

#: A worker opens the same few tokens for each of its tasks. The log hides as many (MAX_SECRETS in scrub.py).
_CACHE_SIZE = 256


class UnreadableSecret(TransientError):
    """A stored token cannot be decrypted for this tenant; check that TOKEN_KEYS still lists the key that sealed it."""

    code = "unreadable_secret"


class TokenVault:
    """Encrypts with the newest key, and decrypts with any of the keys."""

    def __init__(self, keys: Sequence[SecretStr]):
        if not keys:
            raise ConfigurationError("TOKEN_KEYS is not set; `mailroom keys generate` prints a key")
        self._fernets = [Fernet(key.get_secret_value()) for key in keys]
        self._opened = lru_cache(maxsize=_CACHE_SIZE)(self._open)

    @property
    def key_count(self) -> int:
        """Return the number of keys."""
        return len(self._fernets)

    def seal(self, tenant_id: int, secret: dict[str, str]) -> bytes:
        """Encrypt a tenant's tokens. Only `open` with the same tenant id decrypts them."""
        remember(*secret.values())
        return self._fernets[0].encrypt(json.dumps({"tenant_id": tenant_id, "secret": secret}).encode())

    def open(self, tenant_id: int, sealed: bytes) -> dict[str, str]:
        """Decrypt a tenant's tokens. Raises UnreadableSecret for a wrong key, a wrong tenant or damaged content."""
        secret: dict[str, str] = dict(self._opened(tenant_id, sealed)[1])
        remember(*secret.values())
        return secret

    def key_position(self, tenant_id: int, sealed: bytes) -> int:
        """Return the position of the key that sealed it; 0 is the newest. Raises UnreadableSecret as `open` does."""
        return self._opened(tenant_id, sealed)[0]

    def _open(self, tenant_id: int, sealed: bytes) -> tuple[int, Any]:
        """Return the position of the key, and the content. A Fernet token names no key, so each key is tried."""
        for position, fernet in enumerate(self._fernets):
            try:
                content = json.loads(fernet.decrypt(sealed))
            except InvalidToken:
                continue
            if content["tenant_id"] != tenant_id:
                raise UnreadableSecret(
                    f"the token stored for tenant {tenant_id} belongs to another tenant; connect it again, then look "
                    "into who changed the table `connections` (TOKEN_KEYS are fine)"
                )
            return position, content["secret"]
        raise UnreadableSecret(
            f"the token of tenant {tenant_id} was sealed with another key; check TOKEN_KEYS, or connect again"
        )
