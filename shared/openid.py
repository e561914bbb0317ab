"""OpenID Connect with the provider at OIDC_ISSUER, by Authlib: the way to its log-in page, and who comes back.

The library checks the ID token. A log-in's state, nonce and code verifier are the caller's to keep, because the
library would keep them in a cookie or a cache. Requests go through `shared.http`, with one deadline for a log-in: no
redirect is followed, and hosts other than the issuer's must have public addresses.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ValidationError
from requests import RequestException

from shared.errors import MailroomError, UnsafeRedirect
from shared.http.destinations import is_public, origin_of
from shared.http.transport import HttpClient, NoAnswer, SessionAdapter

SCOPE: Final = "openid email"
#: A signature that only the provider can make. With any other algorithm our own client secret, or nothing, would do.
ALGORITHMS: Final = frozenset(f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)) | {
    "EdDSA",
    "Ed25519",
}
CLAIMS: Final = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash"})
MAX_ANSWER_BYTES: Final = 512 * 1024
SECONDS: Final = 8.0
#: After a failed connection nobody else waits for the provider for so long.
SILENT_SECONDS: Final = 10.0
METADATA_SECONDS: Final = 600.0
CLOCK_SECONDS: Final = 60
LONGEST_SUBJECT: Final = 255  # OpenID Connect Core, section 2
LONGEST_EMAIL: Final = 254  # RFC 5321
#: The libraries raise the last four, too, for a token that is malformed.
_UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError)


class ProviderUnavailable(MailroomError):
    """The OpenID provider does not answer, or not as one does."""

    code = "provider_unavailable"


class IdentityRefused(MailroomError):
    """The provider's answer does not prove who somebody is. The message names the check, and nothing of the answer."""

    code = "identity_refused"


@dataclass(frozen=True, kw_only=True)
class LoginRequest:
    """The address of the provider's log-in page, and what must be at hand when the browser comes back."""

    url: str
    state: str
    nonce: str
    code_verifier: str


@dataclass(frozen=True, kw_only=True)
class OpenIdIdentity:
    """Somebody at the provider. `email`: the address that the provider has verified, None without one."""

    issuer: str
    subject: str
    email: str | None


class Metadata(BaseModel):
    """The provider's description of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    id_token_signing_alg_values_supported: list[str] = ["RS256"]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False


class OpenIdProvider:
    """The provider, as all threads of a process share it. It is asked for its metadata once in ten minutes."""

    def __init__(self, issuer: str, *, client_id: str, client_secret: str, redirect_uri: str):
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._lock = threading.Lock()
        self._known: tuple[float, Metadata] | None = None
        self._silent_until = 0.0

    @property
    def host(self) -> str:
        """Return the host by which people know the provider."""
        return urlsplit(self.issuer).netloc

    def begin(self) -> LoginRequest:
        """Begin a log-in. Raises ProviderUnavailable."""
        metadata = self._metadata(time.monotonic() + SECONDS)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        session = OAuth2Session(
            self._client_id, redirect_uri=self._redirect_uri, scope=SCOPE, code_challenge_method="S256"
        )
        url, _ = session.create_authorization_url(
            metadata.authorization_endpoint, state=state, nonce=nonce, code_verifier=verifier
        )
        return LoginRequest(url=url, state=state, nonce=nonce, code_verifier=verifier)

    def finish(self, code: str, *, nonce: str, code_verifier: str, answered_by: str | None) -> OpenIdIdentity:
        """Return who logged in. `answered_by`: the `iss` of the browser's return (RFC 9207), None without one.

        Raises IdentityRefused and ProviderUnavailable.
        """
        until = time.monotonic() + SECONDS
        metadata = self._metadata(until)
        if answered_by != metadata.issuer and (answered_by or metadata.authorization_response_iss_parameter_supported):
            raise IdentityRefused("iss of the return")
        tokens = self._exchange(metadata, code, code_verifier, until)
        claims = self._claims(metadata, tokens, self._keys(metadata, until), nonce)
        email = claims
        if "email" not in claims and metadata.userinfo_endpoint:
            email = self._user_info(metadata.userinfo_endpoint, tokens["access_token"], claims["sub"], until)
        return OpenIdIdentity(issuer=metadata.issuer, subject=claims["sub"], email=_verified_email(email))

    def _metadata(self, until: float) -> Metadata:
        with self._lock:
            known = self._known
        if known and time.monotonic() - known[0] < METADATA_SECONDS:
            return known[1]
        url = get_well_known_url(self.issuer, external=True)
        try:
            found = Metadata.model_validate(self._get(url, until))
        except ValidationError:
            raise self._unavailable("its metadata cannot be read") from None
        self._check(found)
        with self._lock:
            self._known = (time.monotonic(), found)
        return found

    def _check(self, metadata: Metadata) -> None:
        if metadata.issuer != self.issuer:
            raise self._unavailable("its metadata names another issuer than OIDC_ISSUER")
        if not ALGORITHMS.intersection(metadata.id_token_signing_alg_values_supported):
            raise self._unavailable("it signs with no algorithm that only it could use")
        schemes = {"https", urlsplit(self.issuer).scheme}  # http: a provider on this machine, in development
        endpoints = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri)
        if not all(_is_url(each, schemes) for each in (*endpoints, metadata.userinfo_endpoint or endpoints[0])):
            raise self._unavailable("its metadata names an address that is no https address")

    def _exchange(self, metadata: Metadata, code: str, code_verifier: str, until: float) -> dict[str, Any]:
        """Exchange the code for tokens."""
        methods = metadata.token_endpoint_auth_methods_supported
        method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        http, url = self._client(metadata.token_endpoint), metadata.token_endpoint
        with OAuth2Session(self._client_id, self._client_secret, method, redirect_uri=self._redirect_uri) as session:
            session.trust_env = False  # no proxy, no .netrc
            session.adapters.clear()
            session.mount("http", SessionAdapter(http, max_bytes=MAX_ANSWER_BYTES))
            try:
                with http.until(until):
                    tokens = session.fetch_token(
                        url, grant_type="authorization_code", code=code, code_verifier=code_verifier
                    )
            except OAuthError as exc:
                raise self._exchange_refusal(exc) from None
            except (NoAnswer, UnsafeRedirect) as exc:
                raise self._silent(exc) from None
            except (RequestException, ValueError):
                raise self._unavailable("its token endpoint did not answer as one does") from None
        if not all(isinstance(tokens.get(name), str) for name in ("access_token", "id_token")):
            raise IdentityRefused("no ID token")
        return dict(tokens)

    def _exchange_refusal(self, error: OAuthError) -> MailroomError:
        if error.error in {"invalid_client", "unauthorized_client"}:
            return self._unavailable("it refuses OIDC_CLIENT_ID or OIDC_CLIENT_SECRET")
        return IdentityRefused("the code")

    def _keys(self, metadata: Metadata, until: float) -> KeySet:
        """Fetch the provider's public keys. One of a kind that the library does not know is left out."""
        found = self._get(metadata.jwks_uri, until)
        listed = found.get("keys") if isinstance(found, dict) else None
        keys = []
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, dict) and each.get("kty") != "oct" and each.get("use") != "enc":
                try:
                    keys.append(import_key(each))
                except _UNREADABLE:
                    continue
        if not keys:
            raise self._unavailable("it lists no key that can be read")
        return KeySet(keys)

    def _claims(self, metadata: Metadata, tokens: dict[str, Any], keys: KeySet, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token that passes all checks."""
        algorithms = sorted(ALGORITHMS.intersection(metadata.id_token_signing_alg_values_supported))
        expected = {"iss": metadata.issuer, "aud": self._client_id, "nonce": nonce}
        given = {name: {"essential": True, "value": value} for name, value in expected.items()}
        known = {"nonce": nonce, "client_id": self._client_id, "access_token": tokens["access_token"]}
        try:
            token = jwt.decode(
                tokens["id_token"], keys, registry=JWSRegistry(algorithms=algorithms, strict_check_header=False)
            )
            claims = CodeIDToken(token.claims, token.header, {**given, "sub": {"essential": True}}, known)
            claims.validate(leeway=CLOCK_SECONDS)
        except _UNREADABLE as exc:
            raise IdentityRefused(f"the ID token ({_cause_of(exc)})") from None
        if not _is_text(claims["sub"], LONGEST_SUBJECT):
            raise IdentityRefused("sub of the ID token")
        return dict(claims)

    def _user_info(self, url: str, access_token: str, subject: str, until: float) -> dict[str, Any]:
        """Ask for the e-mail address, which many providers leave out of the ID token."""
        found = self._get(url, until, Authorization=f"Bearer {access_token}")
        return found if isinstance(found, dict) and found.get("sub") == subject else {}

    def _get(self, url: str, until: float, **headers: str) -> Any:
        """Return a document of the provider. Raises ProviderUnavailable."""
        if time.monotonic() < self._silent_until:
            raise self._unavailable("it did not answer a moment ago")
        http, asked = self._client(url), {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        try:
            with http.until(until), http.open("GET", url, headers=asked) as answer:
                body = http.read(answer, max_bytes=MAX_ANSWER_BYTES) if answer.status_code == HTTPStatus.OK else None
        except (NoAnswer, UnsafeRedirect) as exc:
            raise self._silent(exc) from None
        try:
            return json.loads(body or b"")
        except (ValueError, RecursionError):
            raise self._unavailable(f"it did not answer {urlsplit(url).path} as a provider does") from None

    def _client(self, url: str) -> HttpClient:
        """Return a client for one request. The operator has named the issuer's host, the issuer all others."""
        is_issuers = origin_of(urlsplit(url)) == origin_of(urlsplit(self.issuer))
        return HttpClient(user_agent="mailroom", is_allowed=None if is_issuers else is_public)

    def _silent(self, cause: Exception) -> ProviderUnavailable:
        if isinstance(cause, UnsafeRedirect):
            return self._unavailable("its metadata names a host that has no public address")
        self._silent_until = time.monotonic() + SILENT_SECONDS
        return self._unavailable(str(cause))

    def _unavailable(self, reason: str) -> ProviderUnavailable:
        return ProviderUnavailable(f"the OpenID provider {self.host} cannot be used: {reason}")


def _verified_email(claims: dict[str, Any]) -> str | None:
    email = claims.get("email")
    return email if claims.get("email_verified") is True and _is_text(email, LONGEST_EMAIL) else None


def _is_text(value: Any, longest: int) -> bool:
    """Whether this is a text that PostgreSQL can store and look up."""
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def _is_url(text: str, schemes: set[str]) -> bool:
    parts = urlsplit(text)
    return parts.scheme in schemes and bool(parts.hostname) and "@" not in parts.netloc and text.isprintable()


def _cause_of(error: Exception) -> str:
    """Return the claim that failed, else the library's word for the failure, and no word of the sender."""
    claim = getattr(error, "claim", None)
    return claim if claim in CLAIMS else getattr(error, "error", "") or "malformed"
