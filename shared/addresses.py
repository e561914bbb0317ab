"""Turns a handle into the key under which all spellings of one address compare equal."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import idna

MAX_LENGTH = 320  # 64 + @ + 255, the longest in RFC 5321; it also keeps a key below the size limit of an index entry
_PLAIN = re.compile(r"[a-z0-9._%+-]+@[a-z0-9.-]*[a-z0-9-]")
#: Control, format (bidi), surrogate, private and unassigned characters, and line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # the only format characters of a domain; IDNA says where
#: Mail programs write these around an address: an opening sign and its closing sign.
_PAIRS = ("''", '""', "``", "<>", "()", "[]", "‘’", "‚‘", "“”", "„“", "«»")


def match_key(handle: str, *, fold_plus: bool = False) -> str | None:
    """Return the key under which `handle` is compared; None when it is no address. Never raises.

    The key has the domain as IDNA 2008 A-labels, and the local part in Unicode's form C and in lower case. Different
    letters stay different: weiß@ is not weiss@. What `bare_address` removes does not count.
    `fold_plus` leaves a tag out: jane+bills@… has the key of jane@….
    """
    if len(handle) > MAX_LENGTH:
        return None
    key = _simple_key(handle) or _normalised_key(bare_address(handle))
    return _without_tag(key) if key and fold_plus else key


def bare_address(handle: str) -> str:
    """Return the address without `mailto:`, quotes or brackets around it, and without the dot of the DNS root."""
    bare = handle.strip()
    while (inner := _without_wrapping(bare)) != bare:
        bare = inner
    return bare


def _without_wrapping(text: str) -> str:
    if text[:7].lower() == "mailto:":
        return text[7:].strip()
    if len(text) > 2 and text[0] + text[-1] in _PAIRS:
        return text[1:-1].strip()
    return text.removesuffix(".") if "@" in text else text


def _simple_key(handle: str) -> str | None:
    """Return the key of a common ASCII address, 100 times faster than by its parts (0.4 us); else None.

    Such an address only needs lower case. An `xn--` label would have to be checked.
    """
    lowered = handle.lower()
    return lowered if _PLAIN.fullmatch(lowered) and "xn--" not in lowered and handle.isascii() else None


@lru_cache(maxsize=20_000)
def _normalised_key(address: str) -> str | None:
    local, _, domain = address.rpartition("@")
    if _has_unprintable(local) or _has_unprintable(domain.translate(dict.fromkeys(map(ord, _JOINERS)))):
        return None
    key = f"{_normalised_local_part(local)}@{_ascii_domain(domain)}"
    return key if _has_two_sides(key) and len(key) <= MAX_LENGTH else None


def _has_unprintable(text: str) -> bool:
    return any(unicodedata.category(char) in _UNPRINTABLE for char in text)


def _normalised_local_part(local: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())


def _ascii_domain(domain: str) -> str:
    """Return the domain in A-labels; empty where it has a joiner in a place that IDNA does not allow."""
    try:
        mapped = idna.uts46_remap(domain, std3_rules=False, transitional=False)
    except (idna.IDNAError, UnicodeError):
        mapped = unicodedata.normalize("NFC", domain).lower()
    labels = [_ascii_label(label) for label in mapped.split(".")]
    return "" if None in labels else ".".join(str(label) for label in labels)


def _ascii_label(label: str) -> str | None:
    try:
        return idna.alabel(label).decode()
    except (idna.IDNAError, UnicodeError):
        # Real mail has internal names (under_scores) and emoji, which IDNA 2008 refuses. Mail servers encode them, too.
        if label.isascii():
            return label
    return None if any(joiner in label for joiner in _JOINERS) else f"xn--{label.encode('punycode').decode()}"


def _has_two_sides(key: str) -> bool:
    local, at, domain = key.partition("@")
    return bool(local and at and domain) and "@" not in domain


def _without_tag(key: str) -> str:
    local, _, domain = key.partition("@")
    person = local.partition("+")[0]
    return f"{person}@{domain}" if person else key
