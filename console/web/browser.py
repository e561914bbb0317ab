"""What the console remembers in a browser: a signed cookie, which that browser's owner can read."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flask import session

MOST_LINKS = 5


@dataclass(frozen=True, kw_only=True)
class Connected:
    """Which tenant this browser connected, to which company, and when."""

    tenant_id: int
    company_id: str
    company: str
    at: datetime


def secret() -> str:
    """What only this browser holds; made when it first comes."""
    found: str = session.setdefault("browser", secrets.token_urlsafe(32))
    return found


def known_secret() -> str:
    """The same, empty for a browser that never came."""
    return str(session.get("browser", ""))


def remember_link(digest: bytes, token: str) -> None:
    """Keep the link that this browser came with, to lead it back there; a few, since there may be several tabs."""
    links = {**session.get("links", {}), digest.hex(): token}
    session["links"] = dict(list(links.items())[-MOST_LINKS:])


def link_of(digest: bytes) -> str | None:
    """The link's token, if this browser came with it."""
    token: str | None = session.get("links", {}).get(digest.hex())
    return token


def remember_connected(connected: Connected) -> None:
    """Let this browser watch the first event come in."""
    session["connected"] = {**asdict(connected), "at": connected.at.isoformat()}


def connected() -> Connected | None:
    """What this browser connected last."""
    kept: dict[str, Any] | None = session.get("connected")
    return Connected(**{**kept, "at": datetime.fromisoformat(kept["at"])}) if kept else None
