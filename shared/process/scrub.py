"""Remembers the secrets that this process holds, so that no line of its log repeats one: the last net."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from shared.settings import Settings


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

#: Shorter ones, of somebody's experiments, would tear holes into ordinary words.
SHORTEST = 8
#: Each is looked for in every line. A token is remembered anew whenever it is opened, so the latest are those in use.
MOST = 256


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


class KnownSecrets:
    """The latest secrets, whatever their number. Safe to use from many threads."""

    def __init__(self, most: int = MOST):
        self._most = most
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def remember(self, values: Iterable[str]) -> None:
        """Let no text repeat these from here on."""
        with self._lock:
            new = [value for value in values if len(value) >= SHORTEST and value not in self._values]
            if new:
                self._values = (*self._values, *new)[-self._most :]

    def hide(self, text: str) -> str:
        """The text without the secrets that are known."""
        for value in self._values:
            if value in text:
                text = text.replace(value, HIDDEN)
        return text


_OF_SETTINGS, _OPENED = KnownSecrets(), KnownSecrets()


def remember_settings(settings: Settings) -> None:
    """Hide the secrets among the settings for as long as this process lives."""
    for value in dict(settings).values():
        each = value if isinstance(value, list) else [value]
        _OF_SETTINGS.remember(secret.get_secret_value() for secret in each if isinstance(secret, SecretStr))


def remember(*values: str) -> None:
    """Hide these, until many newer ones have come."""
    _OPENED.remember(values)


def hide(text: str) -> str:
    """The text without any secret of the settings, nor any token that was sealed or opened lately."""
    return _OPENED.hide(_OF_SETTINGS.hide(text))
