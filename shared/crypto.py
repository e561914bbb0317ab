"""Seals tenants' tokens for the database: encrypted, and bound to the tenant they belong to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr


class UnreadableSecret(TransientError):
    """A stored token does not open for this tenant; check that TOKEN_KEYS still lists the key it was sealed with."""

    code = "unreadable_secret"


class TokenVault:
    """Seals with the newest of the keys and opens with any of them."""

    def __init__(self, keys: Sequence[SecretStr]):
        if not keys:
            raise ConfigurationError("TOKEN_KEYS is not set; `mailroom keys generate` prints a key")
        self._fernet = MultiFernet([Fernet(key.get_secret_value()) for key in keys])

    def seal(self, tenant_id: int, secret: dict[str, str]) -> bytes:
        """Encrypt a tenant's tokens; only `open` with the same tenant id gives them back."""
        return self._fernet.encrypt(json.dumps({"tenant_id": tenant_id, "secret": secret}).encode())

    def open(self, tenant_id: int, sealed: bytes) -> dict[str, str]:
        """The tokens as they were sealed. Raises UnreadableSecret for a wrong key, tenant or content."""
        try:
            content = json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise UnreadableSecret(
                f"the token of tenant {tenant_id} was sealed with another key; check TOKEN_KEYS, or connect again"
            ) from None
        if content["tenant_id"] != tenant_id:
            raise UnreadableSecret(
                f"the token stored for tenant {tenant_id} belongs to another tenant; connect it again, then look into "
                "who changed the table `connections` (TOKEN_KEYS are fine)"
            )
        secret: dict[str, str] = content["secret"]
        return secret
