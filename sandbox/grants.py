"""The tokens of all companies: API tokens, and OAuth codes, access tokens and refresh tokens."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import Literal

CODE_SECONDS = 600.0


class InvalidGrant(Exception):
    """The code or refresh token is unknown, used, revoked or expired."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """The right to act for a company that a token gives."""

    company: str
    type: Literal["api", "oauth_client"]
    expires_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """An access token and its refresh token."""

    access_token: str
    refresh_token: str
    expires_at: float


class Grants:
    """The store of all tokens."""

    def __init__(self, *, access_seconds: float, rotate: bool) -> None:
        self._access_seconds = access_seconds
        self._rotate = rotate
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all tokens and codes."""
        with self._lock:
            self._tokens: dict[str, Grant] = {}
            self._codes: dict[str, tuple[str, str, float]] = {}
            self._refresh: dict[str, str] = {}

    def add_api_token(self, token: str, company: str) -> None:
        """Accept an API token of a company; it never expires."""
        with self._lock:
            self._tokens[token] = Grant(company=company, type="api")

    def holder(self, token: str, now: float) -> Grant | None:
        """Return the grant of a token, or None if the token is unknown or expired."""
        grant = self._tokens.get(token)
        if grant is None or (grant.expires_at is not None and grant.expires_at <= now):
            return None
        return grant

    def issue_code(self, company: str, redirect_uri: str, now: float) -> str:
        """Issue the code that an admin's consent sends to the app."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes[code] = (company, redirect_uri, now + CODE_SECONDS)
        return code

    def exchange(self, code: str, redirect_uri: str, now: float) -> Tokens:
        """Exchange a code for tokens: once, and only for the redirect URI it was issued to."""
        with self._lock:
            company, issued_to, until = self._codes.pop(code, ("", "", 0.0))
            if until <= now or issued_to != redirect_uri:
                raise InvalidGrant
            return self._issue(company, secrets.token_urlsafe(32), now)

    def refresh(self, token: str, now: float) -> Tokens:
        """Issue a new access token. With rotation, a new refresh token replaces the old one."""
        with self._lock:
            company = self._refresh.get(token)
            if company is None:
                raise InvalidGrant
            if self._rotate:
                del self._refresh[token]
                token = secrets.token_urlsafe(32)
            return self._issue(company, token, now)

    def owner(self, refresh_token: str) -> str | None:
        """Return the company of a refresh token, or None if the token is unknown."""
        return self._refresh.get(refresh_token)

    def expire(self, company: str) -> None:
        """Expire the access tokens of a company. Refresh tokens stay valid."""
        with self._lock:
            self._tokens = {
                token: grant for token, grant in self._tokens.items() if grant.company != company or grant.type == "api"
            }

    def revoke(self, company: str) -> None:
        """Revoke all tokens of a company, as Front does when an admin removes the app."""
        with self._lock:
            self._tokens = {token: grant for token, grant in self._tokens.items() if grant.company != company}
            self._refresh = {token: owner for token, owner in self._refresh.items() if owner != company}

    def _issue(self, company: str, refresh_token: str, now: float) -> Tokens:
        access_token = secrets.token_urlsafe(32)
        expires_at = now + self._access_seconds
        self._tokens[access_token] = Grant(company=company, type="oauth_client", expires_at=expires_at)
        self._refresh[refresh_token] = company
        return Tokens(access_token=access_token, refresh_token=refresh_token, expires_at=expires_at)
