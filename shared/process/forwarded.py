"""Find out who sent a request that came through proxies, from the headers of those that TRUSTED_PROXIES names. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

SCHEMES = frozenset({"http", "https"})


@dataclass(frozen=True)
class _Hop:
    """The sender as one proxy names it; None where the proxy hides or does not know it."""

    address: Address | None
    scheme: str


def forwarded(environ: Mapping[str, Any], trusted: Sequence[Network]) -> dict[str, str]:
    """Return what to replace in a WSGI environment: the sender's REMOTE_ADDR, and its `wsgi.url_scheme` where known.

    Nothing, if the peer is no trusted proxy or its headers contradict each other. The headers are read from right to
    left, because each proxy adds at their end: the sender is the first address that is no trusted proxy. Everything
    to the left of it may be made up.
    """
    peer = _address(environ["REMOTE_ADDR"]) if trusted else None
    if peer is None or not _is_of(peer, trusted):
        return {}
    chains = [chain for chain in (_x_forwarded(environ), _rfc_7239(environ)) if chain]
    senders = [_sender(peer, chain, trusted) for chain in chains]
    if not senders or any(each.address != senders[0].address for each in senders):
        return {}
    scheme = next((each.scheme for each in senders if each.scheme in SCHEMES), "")
    found = {"REMOTE_ADDR": str(senders[0].address)}
    return found | {"wsgi.url_scheme": scheme} if scheme else found


def network_of(address: str) -> str:
    """Return whom an address belongs to: itself for IPv4, its /64 for IPv6."""
    ip = _address(address)
    return str(ip_network((ip, 64), strict=False)) if isinstance(ip, IPv6Address) else str(ip or address)


def _sender(peer: Address, chain: list[_Hop], trusted: Sequence[Network]) -> _Hop:
    """Return the first hop from the right that is no trusted proxy; before one that is not known, the proxy itself."""
    sender = _Hop(peer, "")
    for hop in reversed(chain):
        sender = _Hop(hop.address or sender.address, hop.scheme)
        if hop.address is None or not _is_of(hop.address, trusted):
            break
    return sender


def _x_forwarded(environ: Mapping[str, Any]) -> list[_Hop]:
    """Read X-Forwarded-For and -Proto. A proxy adds its scheme to the list, or writes one in place of the list."""
    addresses, schemes = (_items(environ, f"HTTP_X_FORWARDED_{name}") for name in ("FOR", "PROTO"))
    if len(schemes) != len(addresses):
        schemes = schemes[-1:] * max(len(addresses), 1)
    if not addresses:
        return [_Hop(None, scheme.lower()) for scheme in schemes]
    return [
        _Hop(_address(each), scheme.lower())
        for each, scheme in zip(addresses, schemes or [""] * len(addresses), strict=True)
    ]


def _rfc_7239(environ: Mapping[str, Any]) -> list[_Hop]:
    """Read Forwarded. It is cut at every comma: a sender's open quote must not hide what a proxy added behind it."""
    return [_element(each) for each in _items(environ, "HTTP_FORWARDED")]


def _element(text: str) -> _Hop:
    pairs = (pair.partition("=") for pair in text.split(";"))
    given = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
    return _Hop(_address(given.get("for", "")), given.get("proto", "").lower())


def _items(environ: Mapping[str, Any], key: str) -> list[str]:
    return [part for each in environ.get(key, "").split(",") if (part := each.strip())]


def _address(text: str) -> Address | None:
    """Read an address as proxies write it: with a port or without, IPv6 perhaps in brackets."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _is_of(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
