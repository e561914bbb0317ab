"""Where a request may go: pure rules about hosts and addresses, so that a token reaches Front and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from shared.errors import UnsafeRedirect

# Front answers with links to either host and serves every path on both:
# https://dev.frontapp.com/docs/base-url
_FRONTS_HOSTS = re.compile(r"api2\.frontapp\.com|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.api\.frontapp\.com")
_PORTS = {"http": 80, "https": 443}
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True)
class Api:
    """Front's API as configured. Every URL a token is sent to starts with `url`."""

    url: str

    def own_path(self, link: str, *, seen_at: str) -> str | None:
        """Path and query of a link that means this API, None when it means another place.

        Front's company hosts are this API too when it is Front's; the caller asks `url`, never the link's own host.
        """
        base, target = urlsplit(self.url), _resolved(link, seen_at=seen_at)
        if target is None or "@" in target.netloc or ".." in unquote(target.path):
            return None
        if _origin(target) == _origin(base):
            path = target.path.removeprefix(base.path) if target.path.startswith(base.path) else ""
        else:
            path = target.path if _is_fronts(base) and _is_fronts(target) else ""
        if not path.startswith("/"):
            return None
        return f"{path}?{target.query}" if target.query else path


def foreign_url(link: str, *, seen_at: str) -> str:
    """The address of a file that lies elsewhere; it is asked without a token. Raises UnsafeRedirect unless https."""
    target = _resolved(link, seen_at=seen_at)
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


def _resolved(link: str, *, seen_at: str) -> SplitResult | None:
    try:
        target = urlsplit(urljoin(seen_at, link))
        _ = target.port  # a junk port raises only when it is read
    except ValueError:
        return None
    return target


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)


def _is_fronts(url: SplitResult) -> bool:
    scheme, host, port = _origin(url)
    return scheme == "https" and port == 443 and _FRONTS_HOSTS.fullmatch(host or "") is not None
