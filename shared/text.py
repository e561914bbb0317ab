"""Makes any text from outside storable."""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str, limit: int) -> str:
    """The text without NUL and lone surrogates, which PostgreSQL cannot hold, cut to `limit` characters."""
    if len(text) > limit:
        text = text[:limit]
    if text.isascii():
        return text.replace("\0", REPLACEMENT) if "\0" in text else text
    return text.replace("\0", REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
