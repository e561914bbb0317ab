"""A provider is used as it describes itself, and only where that description is one of the issuer's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.openid import IdentityRefused, OpenIdIdentity, OpenIdProvider, ProviderUnavailable
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIdProviderPeer, Person

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def peer() -> Iterator[OpenIdProviderPeer]:
    peer = OpenIdProviderPeer()
    yield peer
    peer.broken = ""
    peer.stop()


def provider_at(issuer: str, *, secret: str = CLIENT_SECRET) -> OpenIdProvider:
    return OpenIdProvider(
        issuer, client_id=CLIENT_ID, client_secret=secret, redirect_uri="https://console.example/login/oidc/callback"
    )


def identify(provider: OpenIdProvider, peer: OpenIdProviderPeer, person: Person, **answer: str) -> OpenIdIdentity:
    """Log in all the way and return who it was."""
    begun = provider.begin()
    back = parse_qs(urlsplit(peer.log_in(begun.url, person, **answer)).query)
    iss = back.get("iss", [None])[0]
    return provider.finish(back["code"][0], nonce=begun.nonce, code_verifier=begun.code_verifier, answered_by=iss)


def test_an_identity_is_issuer_and_subject(peer: OpenIdProviderPeer) -> None:
    found = identify(provider_at(peer.issuer), peer, Person(sub="17", email="jane@example.com"))
    assert found == OpenIdIdentity(issuer=peer.issuer, subject="17", email="jane@example.com")


def test_the_metadata_is_asked_for_once_in_ten_minutes(peer: OpenIdProviderPeer) -> None:
    provider = provider_at(peer.issuer)
    for _ in range(3):
        identify(provider, peer, Person(sub="17"))
    assert peer.metadata_asked == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://accounts.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 17},
        {"token_endpoint": "ftp://localhost/token"},
        {"token_endpoint": "https://user:secret@localhost/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://x/\nSet-Cookie: a=b"},
        {"userinfo_endpoint": "file:///etc/passwd"},
        {"id_token_signing_alg_values_supported": ["HS256", "none"]},
    ],
)
def test_metadata_that_cannot_be_the_issuers_is_refused(peer: OpenIdProviderPeer, metadata: dict[str, Any]) -> None:
    peer.metadata = metadata
    with pytest.raises(ProviderUnavailable):
        provider_at(peer.issuer).begin()


@pytest.mark.parametrize("part", ["jwks_uri", "token_endpoint", "userinfo_endpoint"])
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "169.254.169.254", "[::1]:{port}", "10.0.0.1"])
def test_another_host_than_the_issuers_must_have_a_public_address(
    peer: OpenIdProviderPeer, part: str, host: str
) -> None:
    port = urlsplit(peer.issuer).port
    peer.metadata = {part: f"http://{host.format(port=port)}/realm/{part.partition('_')[0]}"}
    asked = len(peer.requests)
    with pytest.raises(ProviderUnavailable, match="no public address"):
        identify(provider_at(peer.issuer), peer, Person(sub="17", email_by_userinfo=True))
    assert len(peer.requests) == asked + (part != "token_endpoint")


def test_a_wrong_client_secret_is_the_operators_to_mend(peer: OpenIdProviderPeer) -> None:
    with pytest.raises(ProviderUnavailable, match="OIDC_CLIENT_SECRET") as told:
        identify(provider_at(peer.issuer, secret="another-secret"), peer, Person(sub="17"))
    assert "another-secret" not in str(told.value)


def test_a_provider_that_names_itself_in_each_answer_has_to(peer: OpenIdProviderPeer) -> None:
    peer.metadata = {"authorization_response_iss_parameter_supported": True}
    provider = provider_at(peer.issuer)
    assert identify(provider, peer, Person(sub="17"), iss=peer.issuer).subject == "17"
    for answer in ({}, {"iss": "https://accounts.example"}):
        with pytest.raises(IdentityRefused):
            identify(provider, peer, Person(sub="17"), **answer)


def test_the_userinfo_of_somebody_else_gives_no_address(peer: OpenIdProviderPeer) -> None:
    person = Person(sub="17", email_by_userinfo=True)
    assert identify(provider_at(peer.issuer), peer, person).email == "17@example.com"
    person.claims = {"sub": "18"}
    assert identify(provider_at(peer.issuer), peer, person).email is None


def test_a_provider_that_is_away_is_left_alone_for_a_moment(peer: OpenIdProviderPeer) -> None:
    peer.stop()
    provider = provider_at(peer.issuer)
    with pytest.raises(ProviderUnavailable, match="localhost"):
        provider.begin()
    with pytest.raises(ProviderUnavailable, match="a moment ago"):
        provider.begin()
