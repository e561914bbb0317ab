"""A console that should log people in by a provider and cannot says so at its start."""

from __future__ import annotations

from typing import Any

import pytest

from console.access import provider
from console.access.provider import open_provider
from shared.errors import ConfigurationError
from shared.settings import Settings

GIVEN = {"oidc_issuer": "https://accounts.example", "oidc_client_id": "console", "oidc_client_secret": "hunter2"}


def settings(**given: Any) -> Settings:
    return Settings(**{**GIVEN, **given})


def test_without_an_issuer_there_is_no_provider() -> None:
    assert open_provider(Settings()) is None


def test_the_provider_is_not_asked_at_the_start() -> None:
    found = open_provider(settings())
    assert found
    assert found.host == "accounts.example"


@pytest.mark.parametrize("missing", ["oidc_client_id", "oidc_client_secret"])
def test_an_issuer_needs_a_client(missing: str) -> None:
    with pytest.raises(ConfigurationError, match="needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET"):
        open_provider(settings(**{missing: ""}))


@pytest.mark.parametrize("package", provider.PACKAGES)
def test_an_issuer_needs_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr(provider, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(ConfigurationError) as told:
        open_provider(settings())
    assert str(told.value) == (
        "OIDC_ISSUER: the package Authlib is not installed; install mailroom[oidc], or unset OIDC_ISSUER"
    )
    assert open_provider(Settings()) is None
