"""A small OpenID provider on this machine, with real keys. A test says what its next ID token is like."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "console", "canary-oidc-secret"


def new_key(kid: str) -> RSAKey:
    """Make a key of a provider."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """Write a token without the library, which signs nothing wrong."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@dataclass
class Person:
    """The person who logs in at the provider, and how the provider deviates for them."""

    sub: str
    email: str | None = None
    email_verified: Any = True
    claims: dict[str, Any] = field(default_factory=dict)  # in place of the right ones; None leaves one out
    header: dict[str, Any] = field(default_factory=dict)
    key: RSAKey | None = None
    token: Any = None  # makes the ID token from header and claims
    email_by_userinfo: bool = False


@dataclass
class Grant:
    """The log-in that a code stands for."""

    person: Person
    query: dict[str, str]


class OpenIdProviderPeer:
    """The provider. `requests` are those to its token endpoint; `metadata` overrides its description of itself."""

    def __init__(self) -> None:
        self.key = new_key("key-1")
        self.keys = [self.key]
        self.metadata: dict[str, Any] = {}
        self.requests: list[dict[str, str]] = []
        self.metadata_asked = 0
        self.broken = ""  # "metadata", "token", "jwks": answers 500; "drip": the metadata never ends
        self.at_the_page: Person | None = None  # the person whom the provider's log-in page logs in by itself
        self._grants: dict[str, Grant] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://localhost:{self._server.server_port}/realm"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop, so that nobody answers at the issuer's address."""
        self._server.shutdown()
        self._server.server_close()

    def log_in(self, address: str, person: Person, **answer: str) -> str:
        """Log a person in at the address to which the console sent the browser; return where the browser goes back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (query["client_id"], query["response_type"]) == (CLIENT_ID, "code")
        assert (query["code_challenge_method"], query["scope"]) == ("S256", "openid email")
        code = f"code-{len(self._grants)}"
        self._grants[code] = Grant(person=person, query=query)
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], **answer})}"

    def description(self) -> dict[str, Any]:
        """Return the provider's metadata."""
        base = self.issuer
        return {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/jwks",
            "userinfo_endpoint": f"{base}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            **self.metadata,
        }

    def _tokens(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        self.requests.append(form)
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, {"error": "invalid_client"}
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None:
            return 400, {"error": "invalid_grant"}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if challenge.decode() != grant.query["code_challenge"] or form["redirect_uri"] != grant.query["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        access_token = f"canary-access-token-{grant.person.sub}"
        return 200, {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 60,
            "id_token": self._id_token(grant, access_token),
        }

    def _id_token(self, grant: Grant, access_token: str) -> str:
        person, now = grant.person, int(time.time())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": person.sub,
            "iat": now,
            "exp": now + 300,
            "nonce": grant.query["nonce"],
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        }
        if not person.email_by_userinfo:
            claims |= {"email": person.email, "email_verified": person.email_verified}
        claims = {name: value for name, value in {**claims, **person.claims}.items() if value is not None}
        key = person.key or self.key
        header = {"alg": "RS256", "kid": key.kid, **person.header}
        if person.token is not None:
            return str(person.token(header, claims))
        return jwt.encode(header, claims, key)

    def _user_info(self, authorization: str) -> dict[str, Any]:
        sub = authorization.removeprefix("Bearer canary-access-token-")
        return {"sub": sub, "email": f"{sub}@example.com", "email_verified": True}

    def _handler(self) -> type[BaseHTTPRequestHandler]:  # noqa: C901 -- one class of short methods
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/realm/").removeprefix(".well-known/").partition("?")[0]
                getattr(self, f"_{name.replace('-', '_')}", self._nothing)()

            def _openid_configuration(self) -> None:
                provider.metadata_asked += 1
                if provider.broken == "drip":
                    self._drip()
                else:
                    self._answer("metadata", 200, provider.description())

            def _jwks(self) -> None:
                self._answer("jwks", 200, {"keys": [key.as_dict(private=False) for key in provider.keys]})

            def _userinfo(self) -> None:
                self._answer("userinfo", 200, provider._user_info(self.headers["Authorization"]))

            def _authorize(self) -> None:
                assert provider.at_the_page
                self.send_response(302)
                self.send_header("Location", provider.log_in(self.path, provider.at_the_page))
                self.end_headers()

            def _nothing(self) -> None:
                self._answer("", 404, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self._answer("token", *provider._tokens(form, self.headers["Authorization"]))

            def _answer(self, name: str, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(500 if name and provider.broken == name else status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _drip(self) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    while provider.broken == "drip":
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        time.sleep(0.2)
                except OSError:
                    return

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
