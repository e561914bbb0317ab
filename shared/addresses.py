"""Turns a handle into the key under which all spellings of one address compare equal."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

MAX_LENGTH = 320  # 64 + @ + 255, the longest in RFC 5321; it also keeps a key below the size limit of an index entry
_PLAIN = re.compile(r"[a-z0-9._%+-]+@[a-z0-9.-]+")
#: Control, format (bidi), surrogate, private and unassigned characters, and line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def match_key(handle: str, *, fold_plus: bool = False) -> str | None:
    """Return the key under which `handle` is compared; None when it is no address. Never raises.

    `fold_plus` leaves a tag out: jane+bills@… has the key of jane@….
    """
    if len(handle) > MAX_LENGTH:
        return None
    key = _simple_key(handle) or _normalised_key(handle.strip())
    return _without_tag(key) if key and fold_plus else key


def _simple_key(handle: str) -> str | None:
    """Return the key of a common ASCII address, about 80 times faster than the validator (0.4 us); else None.

    The validator returns such an address unchanged or refuses it, and both cases end in lower case. Only an `xn--`
    label would come back changed.
    """
    lowered = handle.lower()
    return lowered if _PLAIN.fullmatch(lowered) and "xn--" not in lowered and handle.isascii() else None


@lru_cache(maxsize=20_000)
def _normalised_key(handle: str) -> str | None:
    if any(unicodedata.category(char) in _UNPRINTABLE for char in handle):
        return None
    try:
        key = validate_email(handle, check_deliverability=False).normalized
    except (EmailNotValidError, ValueError):
        # Real mail has internal domains (.local, under_scores): they are compared as written.
        key = unicodedata.normalize("NFC", handle)
    key = key.casefold()
    return key if _has_two_sides(key) and len(key) <= MAX_LENGTH else None


def _has_two_sides(key: str) -> bool:
    local, at, domain = key.partition("@")
    return bool(local and at and domain) and "@" not in domain


def _without_tag(key: str) -> str:
    local, _, domain = key.partition("@")
    person = local.partition("+")[0]
    return f"{person}@{domain}" if person else key
