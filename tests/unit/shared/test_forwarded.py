"""The sender of a request behind proxies: nobody can make one up, and no proxy is taken for a sender."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from shared.process.forwarded import forwarded, network_of

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.1/32", "fd00::/8")))
PROXY, CLIENT = "10.0.0.1", "198.51.100.7"


def sender(peer: str = PROXY, trusted: tuple[object, ...] = TRUSTED, **headers: str) -> str:
    """Return the address that the application sees."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return str({**environ, **forwarded(environ, trusted)}["REMOTE_ADDR"])  # type: ignore[arg-type]


def scheme(peer: str = PROXY, **headers: str) -> str:
    """Return the scheme that the application sees."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return str({**environ, **forwarded(environ, TRUSTED)}["wsgi.url_scheme"])


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded"])
def test_without_trusted_proxies_the_headers_are_ignored(header: str) -> None:
    assert sender(trusted=(), **{header: CLIENT}) == PROXY


@pytest.mark.parametrize("peer", ["203.0.113.9", "::1", "2001:db8::1", ""])
def test_a_peer_that_is_no_trusted_proxy_is_not_believed(peer: str) -> None:
    assert sender(peer, x_forwarded_for=CLIENT, forwarded=f"for={CLIENT}") == peer
    assert scheme(peer, x_forwarded_for=CLIENT, x_forwarded_proto="https") == "http"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (CLIENT, CLIENT),
        (f"{CLIENT}:51234", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:51234", "2001:db8::7"),
        ("::ffff:198.51.100.7", CLIENT),
        # A sender made up what stands to the left
        (f"192.0.2.1, {CLIENT}", CLIENT),
        (f"10.9.9.9, 127.0.0.1, {CLIENT}", CLIENT),
        (f"<script>, {CLIENT}", CLIENT),
        # A second proxy of ours
        (f"192.0.2.1, {CLIENT}, 10.0.0.2", CLIENT),
        (f"{CLIENT},10.0.0.3 , 10.0.0.2", CLIENT),
        (f"{CLIENT}, fd00::2", CLIENT),
        # The proxy itself asks, as for its health
        ("", PROXY),
        (" , ,", PROXY),
        ("10.0.0.9", "10.0.0.9"),
        # A proxy that hides the sender: whoever stands to the left may be made up
        (f"{CLIENT}, unknown", PROXY),
        (f"{CLIENT}, unknown, 10.0.0.2", "10.0.0.2"),
        (f"{CLIENT}, 1.2.3", PROXY),
    ],
)
def test_x_forwarded_for_is_read_from_right_to_left(value: str, found: str) -> None:
    assert sender(x_forwarded_for=value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (f"for={CLIENT}", CLIENT),
        (f'For="{CLIENT}:4711";Proto=https;by=10.0.0.1', CLIENT),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        (f"for=192.0.2.1, for={CLIENT}, for=10.0.0.2", CLIENT),
        (f"for={CLIENT}, for=_hidden", PROXY),
        (f"for={CLIENT}, for=unknown", PROXY),
        (f"for={CLIENT}, proto=https", PROXY),
        # An open quote of the sender does not swallow what the proxy added
        (f'for="192.0.2.1, for={CLIENT}', CLIENT),
        (f'for=192.0.2.1;x=", for={CLIENT}', CLIENT),
    ],
)
def test_forwarded_is_read_from_right_to_left(value: str, found: str) -> None:
    assert sender(forwarded=value) == found


def test_a_header_that_the_proxy_passes_on_unread_makes_up_no_sender() -> None:
    assert sender(x_forwarded_for=CLIENT, forwarded="for=192.0.2.1") == PROXY
    assert sender(x_forwarded_for="192.0.2.1", forwarded=f"for={CLIENT}") == PROXY
    assert sender(x_forwarded_for=CLIENT, forwarded=f"for={CLIENT}") == CLIENT


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "https"}, "https"),
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "HTTPS"}, "https"),
        ({"x_forwarded_for": CLIENT}, "http"),
        ({"x_forwarded_proto": "https"}, "https"),
        ({"forwarded": f"for={CLIENT};proto=https"}, "https"),
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "gopher"}, "http"),
        # The proxy adds to what a sender made up
        ({"x_forwarded_for": f"192.0.2.1, {CLIENT}", "x_forwarded_proto": "https, http"}, "http"),
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "http, https"}, "https"),
        # TLS ends at the outer proxy
        ({"x_forwarded_for": f"{CLIENT}, 10.0.0.2", "x_forwarded_proto": "https, http"}, "https"),
        ({"x_forwarded_for": f"192.0.2.1, {CLIENT}, 10.0.0.2", "x_forwarded_proto": "https"}, "https"),
    ],
)
def test_the_scheme_is_that_of_the_sender(headers: dict[str, str], found: str) -> None:
    assert scheme(**headers) == found


def test_a_long_list_is_read_to_its_end() -> None:
    assert sender(x_forwarded_for=", ".join([CLIENT, *["10.0.0.2"] * 5_000])) == CLIENT


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (CLIENT, CLIENT),
        ("::ffff:198.51.100.7", CLIENT),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_belongs_to_one_customer(address: str, network: str) -> None:
    assert network_of(address) == network
