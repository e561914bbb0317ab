"""A sealed token opens with any current key, and only for its own tenant."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from shared.connection.vault import TokenVault, UnreadableSecret
from shared.errors import ConfigurationError

OLD, NEW, OTHER = (SecretStr(Fernet.generate_key().decode()) for _ in range(3))
SECRET = {"access_token": "front-token", "refresh_token": "front-refresh"}


def test_a_sealed_token_opens_again() -> None:
    vault = TokenVault([NEW])
    assert vault.open(7, vault.seal(7, SECRET)) == SECRET


def test_an_older_key_still_opens() -> None:
    assert TokenVault([NEW, OLD]).open(7, TokenVault([OLD]).seal(7, SECRET)) == SECRET


def test_the_newest_key_seals() -> None:
    assert TokenVault([NEW]).open(7, TokenVault([NEW, OLD]).seal(7, SECRET)) == SECRET


def test_a_row_moved_to_another_tenant_does_not_open() -> None:
    vault = TokenVault([NEW])
    with pytest.raises(UnreadableSecret, match="belongs to another tenant"):
        vault.open(8, vault.seal(7, SECRET))


def test_a_cached_token_does_not_open_for_another_tenant() -> None:
    vault = TokenVault([NEW])
    sealed = vault.seal(7, SECRET)
    vault.open(7, sealed).clear()
    with pytest.raises(UnreadableSecret, match="belongs to another tenant"):
        vault.open(8, sealed)
    assert vault.open(7, sealed) == SECRET


@pytest.mark.parametrize("sealed", [TokenVault([OTHER]).seal(7, SECRET), b"", b"not a token", b"\xff\x00"])
def test_a_wrong_key_names_the_setting_and_no_secret(sealed: bytes) -> None:
    with pytest.raises(UnreadableSecret, match="check TOKEN_KEYS") as caught:
        TokenVault([NEW]).open(7, sealed)
    assert NEW.get_secret_value() not in str(caught.value)


def test_the_token_is_not_readable_in_the_row() -> None:
    assert b"front-token" not in TokenVault([NEW]).seal(7, SECRET)


def test_no_keys_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="TOKEN_KEYS"):
        TokenVault([])


def test_an_id_tells_keys_apart_and_nothing_about_them() -> None:
    new, old = TokenVault([NEW, OLD]).key_ids
    assert (new, old) == (*TokenVault([NEW]).key_ids, *TokenVault([OLD]).key_ids)
    assert new != old
    assert new not in NEW.get_secret_value()
