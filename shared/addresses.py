"""Turns a handle into the key two spellings of one address share, or says that it is no address."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

MAX_LENGTH = 320  # 64 + @ + 255, the longest RFC 5321 knows; also keeps a key below what an index entry can hold
PLAIN = re.compile(r"[a-z0-9._%+-]+@[a-z0-9.-]+")
# Control, format (bidi), surrogate, private and unassigned characters, line and paragraph separators
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def match_key(handle: str, *, fold_plus: bool = False) -> str | None:
    """The form under which `handle` is compared, or None where it is no address; never raises.

    With `fold_plus` a tag is left out: the key of jane+bills@… is that of jane@….
    """
    if len(handle) > MAX_LENGTH:
        return None
    key = _plain(handle) or _normalised(handle.strip())
    return _without_tag(key) if key and fold_plus else key


def _plain(handle: str) -> str | None:
    """The key of an everyday ASCII address, some 80 times faster (0.4 us).

    The validator gives letters, digits and dots back as they are or refuses the whole; both end as the lower case. Only
    an `xn--` label would come back different.
    """
    lowered = handle.lower()
    return lowered if PLAIN.fullmatch(lowered) and "xn--" not in lowered and handle.isascii() else None


@lru_cache(maxsize=20_000)
def _normalised(handle: str) -> str | None:
    if any(unicodedata.category(char) in UNPRINTABLE for char in handle):
        return None
    try:
        key = validate_email(handle, check_deliverability=False).normalized
    except (EmailNotValidError, ValueError):
        # Real mail has internal domains (.local, under_scores): compared as written.
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
