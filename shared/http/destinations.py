"""Decides where a request may go, by rules about links and addresses: pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from shared.errors import UnsafeRedirect

_PORTS = {"http": 80, "https": 443}
_NAT64 = IPv6Network("64:ff9b::/96")


def foreign_url(link: str, *, seen_at: str) -> str:
    """The address of a file that lies elsewhere; it is asked without a token. Raises UnsafeRedirect unless https."""
    target = resolve_link(link, seen_at=seen_at)
    if target is None or target.scheme != "https" or not target.hostname or "@" in target.netloc:
        raise UnsafeRedirect(
            "a download was redirected to something that is no plain https address; it was not followed"
        )
    return target.geturl()


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: not loopback, private, link-local, shared or multicast."""
    return _is_public(ip_address(address.partition("%")[0]))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    inside = _embedded(address) if isinstance(address, IPv6Address) else None
    if inside is not None:
        return _is_public(inside)
    return address.is_global and not address.is_multicast


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address an IPv6 one stands for (mapped, 6to4, NAT64)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def resolve_link(link: str, *, seen_at: str) -> SplitResult | None:
    """Return the parts of a link that was found at `seen_at`; None when it is no URL."""
    try:
        target = urlsplit(urljoin(seen_at, link))
        _ = target.port  # a junk port raises only when it is read
    except ValueError:
        return None
    return target


def origin_of(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port; two URLs of one origin are one server."""
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
