"""Takes tokens, passwords and mail addresses out of text that others wrote. Pure."""

from __future__ import annotations

import hashlib
import re

HIDDEN = "[hidden]"  # no character that an address may end in

TOKEN = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
NAMED = re.compile(
    r"""(?ix) ( (?: \b (?:access_|refresh_|api_)? token | \b client_secret | \b password | [?&] (?:code|state) )
                ["']? \s* [=:] \s* ["']? ) [^\s"'&,}]+"""
)
OURS = re.compile(r"\bmr_[\w-]{20,}")  # a token of our own API
LINK = re.compile(r"(/connect/)[\w-]{20,}")  # who has it may connect a tenant
IN_URL = re.compile(r"(://[^\s/:@]*):[^\s/@]+@")
ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")


def scrub(text: str) -> str:
    """The text without secrets; an address becomes a short hash, so that lines about one person can be told to be."""
    text = TOKEN.sub(rf"\1 {HIDDEN}", text)
    text = NAMED.sub(rf"\1{HIDDEN}", text)
    text = OURS.sub(HIDDEN, text)
    text = LINK.sub(rf"\1{HIDDEN}", text)
    text = IN_URL.sub(rf"\1:{HIDDEN}@", text)
    return ADDRESS.sub(_hashed, text) if "@" in text else text


def _hashed(address: re.Match[str]) -> str:
    digest = hashlib.sha256(address[0].casefold().encode("utf-8", "surrogatepass")).hexdigest()
    return f"address:{digest[:8]}"
