"""Ids as Front writes them: a prefix and a number in base 36."""

from __future__ import annotations

import hashlib
import itertools

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """Write a number in lower-case base 36."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return digits or "0"


def stable(prefix: str, *parts: object) -> str:
    """The same id for the same parts, also after a restart."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"{prefix}_{base36(int.from_bytes(digest[:5], 'big'))}"


class Ids:
    """New ids, each given out once; a later start gives later ids."""

    def __init__(self, start: int) -> None:
        self._numbers = itertools.count(start)

    def new(self, prefix: str) -> str:
        """An id nobody has had before."""
        return f"{prefix}_{base36(next(self._numbers))}"
