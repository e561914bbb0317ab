"""Removes secrets from log lines, as the last safeguard: known values, and forms of secrets."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from shared.settings import Settings

HIDDEN = "[hidden]"  # its last character is never part of an address

#: A shorter value, from somebody's experiments, would cut holes into ordinary words.
MIN_LENGTH = 8
#: Each line is searched for every value. A token is remembered again whenever it is opened, so those in use stay.
MAX_SECRETS = 256

_AUTHORIZATION = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
_NAMED_VALUE = re.compile(
    r"""(?ix) ( (?: \b (?:access_|refresh_|api_)? token | \b client_secret | \b password | [?&] (?:code|state) )
                ["']? \s* [=:] \s* ["']? ) [^\s"'&,}]+"""
)
_API_TOKEN = re.compile(r"\bmr_[\w-]{20,}")  # a token of our REST API
_CONNECT_LINK = re.compile(r"(/connect/)[\w-]{20,}")  # anybody who has the link may connect a tenant
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/@]+@")
# It takes a whole run of characters at a time, with an address or without, and gives none back. So a line of one long
# word costs no more than others.
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]++(@[\w-]++(?:\.[\w-]++)++)?")

#: Of a longer value, the log shows the first and the last HALF characters, or fewer.
LONGEST = 16_384
HALF = 4_096
#: Not shown beside the cut: a secret that the cut split is no longer recognized, and ends within as many characters.
MARGIN = LONGEST // 2 - HALF
CUT = " [cut here] "


def loggable(text: str) -> str:
    """Return the text without known secrets and forms of secrets. A long text loses its middle, and takes no longer."""
    if len(text) <= LONGEST:
        return scrub(hide(text))
    begin, end = text[: LONGEST // 2], text[-LONGEST // 2 :]
    return scrub(hide(begin))[:-MARGIN] + CUT + scrub(hide(end))[MARGIN:]


def scrub(text: str) -> str:
    """Return the text without anything in the form of a secret.

    Each address becomes a short hash, so that lines about one person still have something in common.
    """
    text = _AUTHORIZATION.sub(rf"\1 {HIDDEN}", text)
    text = _NAMED_VALUE.sub(rf"\1{HIDDEN}", text)
    text = _API_TOKEN.sub(HIDDEN, text)
    text = _CONNECT_LINK.sub(rf"\1{HIDDEN}", text)
    text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    return _ADDRESS.sub(_hash, text) if "@" in text else text


def _hash(address: re.Match[str]) -> str:
    if address[1] is None:
        return address[0]
    digest = hashlib.sha256(address[0].casefold().encode("utf-8", "surrogatepass")).hexdigest()
    return f"address:{digest[:8]}"


class KnownSecrets:
    """The latest secrets, up to a number. Threads may share it."""

    def __init__(self, max_secrets: int = MAX_SECRETS):
        self._max_secrets = max_secrets
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def remember(self, values: Iterable[str]) -> None:
        """Hide these values from now on."""
        with self._lock:
            new = [value for value in values if len(value) >= MIN_LENGTH and value not in self._values]
            if new:
                self._values = (*self._values, *new)[-self._max_secrets :]

    def hide(self, text: str) -> str:
        """Return the text with each known secret replaced."""
        for value in self._values:
            if value in text:
                text = text.replace(value, HIDDEN)
        return text


_settings_secrets, _token_secrets = KnownSecrets(), KnownSecrets()


def remember_settings(settings: Settings) -> None:
    """Hide the secrets among the settings for the life of this process."""
    for value in dict(settings).values():
        values = value if isinstance(value, list) else [value]
        _settings_secrets.remember(secret.get_secret_value() for secret in values if isinstance(secret, SecretStr))


def remember(*values: str) -> None:
    """Hide these values until MAX_SECRETS newer ones have come."""
    _token_secrets.remember(values)


def hide(text: str) -> str:
    """Return the text without the secrets of the settings and without tokens that were lately sealed or opened."""
    return _token_secrets.hide(_settings_secrets.hide(text))
