"""Rules about links and addresses: they decide where a request may go. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, quote_from_bytes, urljoin, urlsplit

from shared.errors import UnsafeRedirect

_PORTS = {"http": 80, "https": 443}
_UP_TO_HOST = re.compile(rb"(?:[a-z][a-z0-9+.-]*:)?//[^/?#\\]*", re.IGNORECASE)
#: The characters of a URL besides letters and digits (RFC 3986); the percent sign begins a character that is encoded.
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%-._~"
#: The translation of IPv4 addresses: those that programs see, and those that a DNS server of an IPv6 network makes up.
_IPV4_IN_IPV6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
#: IANA's special-purpose registries, and multicast. Python's own tables differ from version to version.
_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")))


def external_url(link: str, *, base_url: str) -> str:
    """Return the URL of a file on another server, which gets no token. Raises UnsafeRedirect unless it is https."""
    target = resolve_link(link, base_url=base_url)
    if target is None or target.scheme != "https" or not target.hostname or "@" in target.netloc:
        raise UnsafeRedirect(
            "a download was redirected to something that is no plain https address; it was not followed"
        )
    return target.geturl()


def is_public(address: str) -> bool:
    """Whether an IP address is global unicast and in no special range. An embedded IPv4 address must be, too."""
    return _is_public(ip_address(address.partition("%")[0]))


def location(value: str) -> str:
    """Return the link in a Location header. Bytes that no URL may contain are percent-encoded as they were sent.

    `value` has a character for each byte, because HTTP libraries read headers as Latin-1. Only a host is decoded: DNS
    knows it by another encoding, which the HTTP client applies.
    """
    try:
        sent = value.encode("latin-1")
    except UnicodeEncodeError:  # not from a socket
        sent = value.encode()
    before = _UP_TO_HOST.match(sent)
    end = before.end() if before else 0
    return sent[:end].decode("utf-8", "replace") + quote_from_bytes(sent[end:], safe=_URL_CHARACTERS)


def resolve_link(link: str, *, base_url: str) -> SplitResult | None:
    """Return the parts of a link that was found at `base_url`; None when it is no URL."""
    try:
        target = urlsplit(urljoin(base_url, link))
        _ = target.port  # an invalid port raises only when it is read
    except ValueError:
        return None
    return target


def origin_of(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port. Two URLs of one origin belong to one server."""
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if any(address in network for network in _IPV4_IN_IPV6):
        return _is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _SPECIAL_IPV6)
