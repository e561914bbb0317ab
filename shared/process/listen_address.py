"""Find the address to listen on. It stands apart from the server, which takes megabytes that a worker goes without."""

from __future__ import annotations

import ipaddress
import socket

from shared.errors import ConfigurationError

_HOST_FIX = "set it to 0.0.0.0 (reachable from outside) or 127.0.0.1, or unset it"
_SHELL = ": some shells set HOST themselves"


def listen_address(host: str, *, setting: str = "HOST") -> str:
    """Return the IP address of a name or address of this machine. Raises ConfigurationError."""
    fix = _HOST_FIX + (_SHELL if setting == "HOST" else "")
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigurationError(f"{setting}: {host!r} is neither an address nor a name that resolves; {fix}") from None
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    for address in sorted(addresses, key=lambda each: ipaddress.ip_address(each).version):
        if _can_listen(address):
            return address
    raise ConfigurationError(f"{setting}: {host!r} is no address of this machine; {fix}")


def _can_listen(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True
