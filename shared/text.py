"""Cleans text from outside, so that PostgreSQL can store it, and finds characters that nobody sees in it."""

from __future__ import annotations

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str, limit: int) -> str:
    """Replace NUL and lone surrogates, which PostgreSQL cannot store, and cut the text to `limit` characters."""
    if len(text) > limit:
        text = text[:limit]
    if text.isascii():
        return text.replace("\0", REPLACEMENT) if "\0" in text else text
    return text.replace("\0", REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


#: The starts of the names of characters after which a joiner changes nothing that a reader sees.
_UNJOINED = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "COMBINING")
_JOINERS = frozenset("\u200c\u200d")
#: Control and format characters (bidi, zero width), surrogates, and separators of lines and paragraphs.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def hidden_character(text: str) -> str | None:
    """Return the first character that nobody sees, so that two texts look alike; none if there is no such character."""
    if text.isprintable():
        return None
    return next((char for char in text if unicodedata.category(char) in _HIDDEN), None)


def printable(text: str) -> str:
    """Replace control, bidi and other hidden characters; spaces and joiners that belong to the writing stay."""
    if text.isprintable():
        return text
    return "".join(char if _is_visible(text, place) else REPLACEMENT for place, char in enumerate(text))


def without_joiners(text: str) -> str:
    """Leave out joiners (U+200C, U+200D) where they are part of the writing, as in Persian, Hindi and emoji."""
    if _JOINERS.isdisjoint(text):
        return text
    return "".join(char for place, char in enumerate(text) if not (char in _JOINERS and _is_written(text, place)))


def _is_visible(text: str, place: int) -> bool:
    char = text[place]
    return char.isprintable() or unicodedata.category(char) == "Zs" or (char in _JOINERS and _is_written(text, place))


def _is_written(text: str, place: int) -> bool:
    before, after = text[:place][-1:], text[place + 1 :][:1]
    if not before or not after or after.isspace() or unicodedata.category(before)[0] not in "LMS":
        return False
    return not unicodedata.name(before, "").startswith(_UNJOINED) and not before.isascii()
