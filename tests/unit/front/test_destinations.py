"""Links of Front's lead to this API, to a file on another host, or are refused."""

from __future__ import annotations

import pytest

from shared.errors import UnsafeRedirect
from shared.front.tenant_requests import Api
from shared.http.destinations import external_url, is_public, location

FRONT = Api(url="https://api2.frontapp.com")
SANDBOX = Api(url="http://127.0.0.1:8082")
BELOW_A_PATH = Api(url="https://proxy.example/front")


@pytest.mark.parametrize(
    ("api", "link", "path"),
    [
        (FRONT, "https://api2.frontapp.com/events?limit=15&page_token=a", "/events?limit=15&page_token=a"),
        (FRONT, "https://api2.frontapp.com:443/events", "/events"),
        # Front's page links name the company's host
        (FRONT, "https://acme-logistics.api.frontapp.com/events?page_token=a", "/events?page_token=a"),
        (FRONT, "https://acme_logistics.api.frontapp.com/events", "/events"),
        (FRONT, "https://_acme__co_.api.frontapp.com/events", "/events"),
        (FRONT, "HTTPS://API2.FRONTAPP.COM/events", "/events"),
        # A Location may be relative
        (FRONT, "/conversations/cnv_2", "/conversations/cnv_2"),
        (FRONT, "cnv_2", "/conversations/cnv_2"),
        (SANDBOX, "http://127.0.0.1:8082/conversations/cnv_2", "/conversations/cnv_2"),
        (BELOW_A_PATH, "https://proxy.example/front/events", "/events"),
        # Hosts that only look like the API's
        (FRONT, "http://api2.frontapp.com/events", None),
        (FRONT, "https://api2.frontapp.com:8443/events", None),
        (FRONT, "https://api2.frontapp.com.evil.example/events", None),
        (FRONT, "https://evilapi.frontapp.com/events", None),
        (FRONT, "https://a.b.api.frontapp.com/events", None),
        (FRONT, "https://-a.api.frontapp.com/events", None),
        (FRONT, "https://_.evil.example/.api.frontapp.com/events", None),
        (FRONT, "https://.api.frontapp.com/events", None),
        (FRONT, "https://token@api2.frontapp.com/events", None),
        (FRONT, "https://api2.frontapp.com@evil.example/events", None),
        (FRONT, "//evil.example/events", None),
        (FRONT, "https://api2.frontapp.com/a/../../oauth", None),
        (FRONT, "https://api2.frontapp.com/%2e%2e/oauth", None),
        (FRONT, "https://[::1/events", None),
        (FRONT, "https://api2.frontapp.com:port/events", None),
        (FRONT, "https://api2.frontapp.com", None),
        # A company host means this API only when the API is Front's
        (SANDBOX, "https://acme.api.frontapp.com/events", None),
        (SANDBOX, "http://127.0.0.1:8083/conversations/cnv_2", None),
        (SANDBOX, "http://localhost:8082/conversations/cnv_2", None),
        (BELOW_A_PATH, "https://proxy.example/frontier/events", None),
        (BELOW_A_PATH, "https://proxy.example/other", None),
    ],
)
def test_a_link_is_a_path_of_this_api_or_refused(api: Api, link: str, path: str | None) -> None:
    assert api.path_of(link, base_url=api.url + "/conversations/cnv_1") == path


@pytest.mark.parametrize(
    ("sent", "link"),
    [
        ("https://files.example/a%20b?c=%C3%BC&d=e+f#g", "https://files.example/a%20b?c=%C3%BC&d=e+f#g"),
        ("https://files.example/Übersicht €.pdf", "https://files.example/%C3%9Cbersicht%20%E2%82%AC.pdf"),
        ("https://files.example/a?name=Å", "https://files.example/a?name=%C3%85"),  # ends like a blank of Latin-1
        ('https://files.example/a?b=<c>|{d}^`\\"', "https://files.example/a?b=%3Cc%3E%7C%7Bd%7D%5E%60%5C%22"),
        ("https://bücher.example/ü", "https://bücher.example/%C3%BC"),  # requests knows its name in DNS
        ("//bücher.example?ü", "//bücher.example?%C3%BC"),
        ("/download/fil_1?file=日本.pdf", "/download/fil_1?file=%E6%97%A5%E6%9C%AC.pdf"),
        ("https://[2606:2800::1]/~a;b=(c)*!'$,[d]@e:f", "https://[2606:2800::1]/~a;b=(c)*!'$,[d]@e:f"),
    ],
)
def test_a_location_is_encoded_byte_by_byte_as_it_was_sent(sent: str, link: str) -> None:
    assert location(sent.encode().decode("latin-1")) == link


def test_bytes_that_are_no_utf_8_are_encoded_as_they_were_sent() -> None:
    assert location("https://files.example/\xdcbersicht") == "https://files.example/%DCbersicht"


def test_a_file_may_lie_at_any_https_address() -> None:
    assert external_url("https://files.example/a?signature=b", base_url="x") == "https://files.example/a?signature=b"


@pytest.mark.parametrize(
    "link",
    [
        "http://files.example/a",
        "ftp://files.example/a",
        "file:///etc/passwd",
        "https:///a",
        "https://user:secret@files.example/a",
        "https://[bad",
        "",
    ],
)
def test_a_file_with_another_url_is_refused(link: str) -> None:
    with pytest.raises(UnsafeRedirect):
        external_url(link, base_url="http://127.0.0.1/download/fil_1")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),  # cloud metadata
        ("100.64.0.1", False),  # carrier-grade NAT
        ("224.0.0.1", False),  # multicast
        ("0.0.0.0", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        # IPv4 addresses embedded in IPv6
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d70e", True),
        ("2002:7f00:1::", False),
        ("2002:5db8:d70e::", False),  # 6to4 is given up
        ("64:ff9b:1::7f00:1", False),  # NAT64 of a local network
        ("64:ff9b:1::5db8:d70e", False),
        ("::127.0.0.1", False),
        ("::93.184.215.14", False),
        ("2001:0:7f00:1::", False),  # Teredo
        # Special ranges, whatever Python's version thinks of them
        ("fec0::1", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("100::1", False),
        ("4000::1", False),
        ("192.0.0.9", False),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("203.0.113.7", False),
        ("239.1.2.3", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("223.255.255.254", True),
        ("2a00:1450:4001:80b::2003", True),
        ("2001:4860:4860::8888", True),
    ],
)
def test_an_address_is_public_or_internal(address: str, public: bool) -> None:
    assert is_public(address) is public
