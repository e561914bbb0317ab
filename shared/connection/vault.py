"""Seals tenants' tokens for the database: encrypted, and bound to the tenant they belong to."""

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


#: A worker opens the same few for each of its tasks; the log's net (known_secrets) keeps as many.
KEPT_OPEN = 256


class UnreadableSecret(TransientError):
    """A stored token does not open for this tenant; check that TOKEN_KEYS still lists the key it was sealed with."""

    code = "unreadable_secret"


class TokenVault:
    """Seals with the newest of the keys and opens with any of them."""

    def __init__(self, keys: Sequence[SecretStr]):
        if not keys:
            raise ConfigurationError("TOKEN_KEYS is not set; `mailroom keys generate` prints a key")
        self._fernets = [Fernet(key.get_secret_value()) for key in keys]
        self._opened = lru_cache(maxsize=KEPT_OPEN)(self._open)

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        return len(self._fernets)

    def seal(self, tenant_id: int, secret: dict[str, str]) -> bytes:
        """Encrypt a tenant's tokens; only `open` with the same tenant id gives them back."""
        remember(*secret.values())
        return self._fernets[0].encrypt(json.dumps({"tenant_id": tenant_id, "secret": secret}).encode())

    def open(self, tenant_id: int, sealed: bytes) -> dict[str, str]:
        """The tokens as they were sealed. Raises UnreadableSecret for a wrong key, tenant or content."""
        secret: dict[str, str] = dict(self._opened(tenant_id, sealed)[1])
        remember(*secret.values())
        return secret

    def key_position(self, tenant_id: int, sealed: bytes) -> int:
        """With which key it was sealed, 0 being the newest. Raises UnreadableSecret as `open` does."""
        return self._opened(tenant_id, sealed)[0]

    def _open(self, tenant_id: int, sealed: bytes) -> tuple[int, Any]:
        """Fernet names no key, so each is tried."""
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
