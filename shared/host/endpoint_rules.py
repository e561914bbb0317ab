"""Rules for endpoints: which URLs and types they may have, and which addresses a request may go to. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urlsplit

from shared.errors import MailroomError
from shared.host.notification import TYPES
from shared.http.destinations import is_public

LONGEST_URL = 2_000
LONGEST_NAME = 100
#: In place of a URL: the name of a step that a package brings, which the workers run.
_STEP = re.compile(r"step:([A-Za-z0-9][A-Za-z0-9_.-]{0,99})")
#: Private networks that endpoints may be in; ENDPOINT_NETWORKS lists them.
Networks = Sequence[IPv4Network | IPv6Network]


class BadEndpoint(MailroomError):
    """The name, URL or types of an endpoint cannot be used; the message says what to write."""

    code = "bad_endpoint"


def validated_url(url: str, networks: Networks) -> str:
    """Return the URL, or `step:NAME`. Plain http is only for private networks. Raises BadEndpoint."""
    url = url.strip()
    if step_name(url) is not None:
        return url
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BadEndpoint("the URL cannot be read; it looks like https://app.example.com/mailroom") from None
    if not host or parts.scheme not in {"https", "http"} or not url.isascii() or not url.isprintable() or " " in url:
        raise BadEndpoint("that is no URL of a web server; it looks like https://app.example.com/mailroom")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadEndpoint("the URL may have neither user, password nor fragment: notifications are signed instead")
    if len(url) > LONGEST_URL:
        raise BadEndpoint(f"the URL is longer than {LONGEST_URL} characters")
    if parts.scheme == "http" and not networks:
        raise BadEndpoint("the URL must begin with https; http is for the networks in ENDPOINT_NETWORKS")
    _check_literal_address(host, parts.scheme, networks)
    return url


def step_name(url: str) -> str | None:
    """Return the name of the step that an endpoint is; None for a URL."""
    found = _STEP.fullmatch(url)
    return found[1] if found else None


def validated_name(name: str) -> str:
    """Return the name. Raises BadEndpoint."""
    name = name.strip()
    if not name or not name.isprintable() or len(name) > LONGEST_NAME or name.isdigit():
        raise BadEndpoint(f"a name has up to {LONGEST_NAME} printable characters, and is not a number")
    return name


def validated_types(types: Sequence[str]) -> list[str] | None:
    """Return the types of notifications, each once; None for none, which stands for all. Raises BadEndpoint."""
    if unknown := [each for each in types if each not in TYPES]:
        raise BadEndpoint(f"{unknown[0][:60]!r} is no type of notification; choose from {', '.join(TYPES)}")
    return list(dict.fromkeys(types)) or None


def may_connect(address: str, scheme: str, networks: Networks) -> bool:
    """Whether a request with this scheme may go to the IP address: public ones by https, private ones if listed."""
    return is_listed(address, networks) or (scheme == "https" and is_public(address))


def is_listed(address: str, networks: Networks) -> bool:
    """Whether the IP address is in one of the networks. Raises ValueError for a name."""
    ip = ip_address(address.partition("%")[0])
    return any(ip.version == network.version and ip in network for network in networks)


def shown_url(url: str) -> str:
    """Return the URL without its query, which may hold a secret."""
    head, mark, _ = url.partition("?")
    return f"{head}?…" if mark else head


def _check_literal_address(host: str, scheme: str, networks: Networks) -> None:
    """Refuse a URL whose host is an IP address that no request may go to. Names are checked when they are resolved."""
    try:
        allowed = may_connect(host, scheme, networks)
    except ValueError:  # a name
        return
    if not allowed:
        raise BadEndpoint("the address is not public; ENDPOINT_NETWORKS lists the private networks of endpoints")
