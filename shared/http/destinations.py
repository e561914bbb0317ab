"""Rules about links and addresses: they decide where a request may go. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from shared.errors import UnsafeRedirect

_PORTS = {"http": 80, "https": 443}
_NAT64 = IPv6Network("64:ff9b::/96")


def external_url(link: str, *, base_url: str) -> str:
    """Return the URL of a file on another server, which gets no token. Raises UnsafeRedirect unless it is https."""
    target = resolve_link(link, base_url=base_url)
    if target is None or target.scheme != "https" or not target.hostname or "@" in target.netloc:
        raise UnsafeRedirect(
            "a download was redirected to something that is no plain https address; it was not followed"
        )
    return target.geturl()


def is_public(address: str) -> bool:
    """Whether an IP address is public: not loopback, private, link-local, shared or multicast."""
    return _is_public(ip_address(address.partition("%")[0]))


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
    embedded = _embedded_ipv4(address) if isinstance(address, IPv6Address) else None
    if embedded is not None:
        return _is_public(embedded)
    return address.is_global and not address.is_multicast


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64), or None."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
