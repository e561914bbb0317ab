"""Cleans text from outside, so that PostgreSQL can store it."""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str, limit: int) -> str:
    """Replace NUL and lone surrogates, which PostgreSQL cannot store, and cut the text to `limit` characters."""
    if len(text) > limit:
        text = text[:limit]
    if text.isascii():
        return text.replace("\0", REPLACEMENT) if "\0" in text else text
    return text.replace("\0", REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
