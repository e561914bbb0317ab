"""Builds the body of a notification: the same bytes in the feed and in a request to an endpoint. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.host.notification import Include, NotificationFacts

#: The most bytes of a body; what is left out is named in `omitted`.
MAX_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Links:
    """The addresses in a body: those of the console at `public_url`, and of conversations in Front at `front_app_url`.

    `secret_key` signs the links to files, which anybody may use until `expires_at` (Unix seconds).
    """

    public_url: str
    front_app_url: str
    secret_key: bytes
    expires_at: int


def build(facts: NotificationFacts, *, links: Links, include: Include = "text", max_bytes: int = MAX_BYTES) -> bytes:
    """Return the body as JSON in UTF-8, of at most `max_bytes`."""
    raise NotImplementedError
