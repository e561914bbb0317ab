"""Who may call for which company: API tokens, and OAuth codes and tokens."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import Literal

CODE_SECONDS = 600.0


class InvalidGrant(Exception):
    """The code or refresh token is unknown, used, revoked or too old."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a token stands for."""

    company: str
    type: Literal["api", "oauth_client"]
    expires_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """One response of the token endpoint."""

    access_token: str
    refresh_token: str
    expires_at: float


class Grants:
    """All tokens of this Front."""

    def __init__(self, *, access_seconds: float, rotate: bool) -> None:
        self._access_seconds = access_seconds
        self._rotate = rotate
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Nobody may do anything any more."""
        with self._lock:
            self._tokens: dict[str, Grant] = {}
            self._codes: dict[str, tuple[str, str, float]] = {}
            self._refresh: dict[str, str] = {}

    def add_api_token(self, token: str, company: str) -> None:
        """Let a token act for a company, without end."""
        with self._lock:
            self._tokens[token] = Grant(company=company, type="api")

    def holder(self, token: str, now: float) -> Grant | None:
        """What a token stands for now; None if it is unknown or expired."""
        grant = self._tokens.get(token)
        if grant is None or (grant.expires_at is not None and grant.expires_at <= now):
            return None
        return grant

    def issue_code(self, company: str, redirect_uri: str, now: float) -> str:
        """The code an admin's consent sends back."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes[code] = (company, redirect_uri, now + CODE_SECONDS)
        return code

    def exchange(self, code: str, redirect_uri: str, now: float) -> Tokens:
        """Tokens for a code, once, and only for the address it was issued to."""
        with self._lock:
            company, issued_to, until = self._codes.pop(code, ("", "", 0.0))
            if until <= now or issued_to != redirect_uri:
                raise InvalidGrant
            return self._issue(company, secrets.token_urlsafe(32), now)

    def refresh(self, token: str, now: float) -> Tokens:
        """A new access token; with rotation the old refresh token ends here."""
        with self._lock:
            company = self._refresh.get(token)
            if company is None:
                raise InvalidGrant
            if self._rotate:
                del self._refresh[token]
                token = secrets.token_urlsafe(32)
            return self._issue(company, token, now)

    def expire(self, company: str) -> None:
        """End the company's access tokens; refresh tokens live on."""
        with self._lock:
            self._tokens = {
                token: grant for token, grant in self._tokens.items() if grant.company != company or grant.type == "api"
            }

    def revoke(self, company: str) -> None:
        """End every token of a company, as when its admin removes the app."""
        with self._lock:
            self._tokens = {token: grant for token, grant in self._tokens.items() if grant.company != company}
            self._refresh = {token: owner for token, owner in self._refresh.items() if owner != company}

    def _issue(self, company: str, refresh_token: str, now: float) -> Tokens:
        access_token = secrets.token_urlsafe(32)
        expires_at = now + self._access_seconds
        self._tokens[access_token] = Grant(company=company, type="oauth_client", expires_at=expires_at)
        self._refresh[refresh_token] = company
        return Tokens(access_token=access_token, refresh_token=refresh_token, expires_at=expires_at)
