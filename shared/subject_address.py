"""Recognises one person's e-mail address in all that is stored, and replaces it by a mask: pure.

Somebody may ask what is held of their address, and have it erased. All spellings of the address are meant: upper and
lower case, a domain in letters or in A-labels, and the ways in which links, HTML and JSON write the @. A longer address
that ends or begins like it belongs to somebody else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import idna
import orjson

from shared.addresses import bare_address, match_key
from shared.errors import MailroomError, MalformedEnvelope
from shared.front.content import handles_in
from shared.front.envelope import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: What stands in place of the address ends so; no mail reaches it (RFC 2606).
MASK_DOMAIN: Final = "erased.invalid"
_MASK = re.compile(rf"erased-[0-9a-f]{{16}}@{re.escape(MASK_DOMAIN)}")
# In links, HTML, quoted JSON, and as it is. PostgreSQL reads these expressions, too.
_AT = r"(?:@|%40|&#0*64;|&#[xX]0*40;|\\u0040)"
# Nothing of a longer address may stand before it; what does is the end of an escaped character.
_BEFORE = r"(?:(?<![A-Za-z0-9_.%+\-])|(?<=%[0-9A-Fa-f][0-9A-Fa-f])|(?<=\\[nrt]))"
_AFTER = r"(?![A-Za-z0-9\-]|\.[A-Za-z0-9])"
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


class NotAnAddress(MailroomError):
    """It is no e-mail address, so nothing is looked for."""

    code = "not_an_address"


@dataclass(frozen=True)
class SubjectAddress:
    """An address that is looked for. `key` is the one by which recipients are matched.

    `expression` finds it in any text, for Python's `re` and for PostgreSQL, with the case ignored.
    """

    key: str
    expression: str

    @classmethod
    def parse(cls, text: str) -> SubjectAddress:
        """Return the address that a person gave. Raises NotAnAddress."""
        bare = bare_address(text)
        key = match_key(bare)
        if key is None or _MASK.fullmatch(key):
            raise NotAnAddress("this is no e-mail address; it looks like jane@example.com")
        spellings = sorted({bare.lower(), key, _in_letters(key)}, key=lambda each: (-len(each), each))
        return cls(key=key, expression=f"{_BEFORE}(?:{'|'.join(map(_spelled, spellings))}){_AFTER}")

    @cached_property
    def _hint(self) -> str:
        """Return letters that stand in every spelling: a text without them is passed in a hundredth of the time."""
        return max(re.findall(r"[a-z0-9]+", self.key.partition("@")[0]), key=len, default="")

    def mask(self, secret: bytes) -> str:
        """Return what stands in place of the address: the same for the same address, and nobody else can tell whose."""
        digest = hmac.new(secret, b"mailroom erased address " + self.key.encode(), hashlib.sha256).hexdigest()
        return f"erased-{digest[:16]}@{MASK_DOMAIN}"

    def is_in(self, text: str) -> bool:
        """Whether the text has the address in any spelling."""
        readings = (text, _unescaped(text)) if "\\u" in text else (text,)
        return any(self._hint in each.lower() and self._is_in(each) for each in readings)

    def _is_in(self, text: str) -> bool:
        return re.search(self.expression, text, re.IGNORECASE) is not None

    def is_handle(self, handle: str) -> bool:
        """Whether a recipient's handle is the address."""
        return match_key(handle) == self.key

    def masked(self, text: str, mask: str) -> str:
        """Return the text with the mask in place of the address."""
        return re.sub(self.expression, mask, text, flags=re.IGNORECASE)

    def is_party_of(self, handles: Iterable[str], *bodies: bytes | None) -> bool:
        """Whether the address wrote or got a message: by its recipients, or by the bodies of webhook and message."""
        if any(map(self.is_handle, handles)):
            return True
        named = any(body is not None and self.is_in_body(body) for body in bodies)
        return named and any(map(self.is_handle, handles_in(*bodies)))

    def is_in_body(self, body: bytes) -> bool:
        """Whether a stored body has the address anywhere."""
        return self.is_in(body.decode("utf-8", "replace"))

    def masked_body(self, body: bytes, mask: str) -> bytes:
        """Return a stored body with the mask in place of the address; one that is no JSON is replaced as text."""
        try:
            return orjson.dumps(_walked(load(body), lambda text: self.masked(text, mask)))
        except (MalformedEnvelope, orjson.JSONEncodeError):
            return self.masked(body.decode("utf-8", "surrogateescape"), mask).encode("utf-8", "surrogateescape")


def _walked(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_walked(each, change) for each in value]
    if isinstance(value, dict):
        return {change(name): _walked(each, change) for name, each in value.items()}
    return value


def _in_letters(key: str) -> str:
    """Return the address with its domain in letters, as people write it."""
    local, _, domain = key.rpartition("@")
    try:
        return f"{local}@{idna.decode(domain)}"
    except (idna.IDNAError, UnicodeError):
        return key


def _spelled(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{_literally(local)}{_AT}{_literally(domain)}"


def _literally(text: str) -> str:
    return "".join(map(_literal, text))


def _literal(character: str) -> str:
    if not character.isascii() or character.isalnum() or character in "_-":
        return character
    escaped = f"\\{character}"
    return escaped if character == "." else f"(?:{escaped}|%{ord(character):02X})"


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
