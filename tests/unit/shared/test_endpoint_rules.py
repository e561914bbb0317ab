"""URLs, names and types of endpoints, and the signature of a notification."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.host.endpoint_rules import (
    BadEndpoint,
    may_connect,
    shown_url,
    validated_name,
    validated_types,
    validated_url,
)
from shared.host.signature import encode_secret, signed_headers

LOOPBACK = [ip_network("127.0.0.0/8")]


@pytest.mark.parametrize(
    "url", ["https://app.example.com/mailroom", "https://app.example.com:8443/x?y=z", "https://8.8.8.8/"]
)
def test_public_https_urls_are_taken(url: str) -> None:
    assert validated_url(f" {url} ", []) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://app.example.com/", "no URL of a web server"),
        ("app.example.com", "no URL of a web server"),
        ("https:///x", "no URL of a web server"),
        ("https://app.example.com/ x", "no URL of a web server"),
        ("https://app.example.com:99999/", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://jane:secret@app.example.com/", "neither user"),
        ("https://app.example.com/#x", "neither user"),
        ("http://app.example.com/", "must begin with https"),
        ("https://127.0.0.1/", "not public"),
        ("https://10.1.2.3/", "not public"),
        ("https://[::1]/", "not public"),
        ("https://[::ffff:10.0.0.1]/", "not public"),
        ("https://169.254.169.254/latest", "not public"),
        ("https://app.example.com/" + 2_000 * "x", "longer than"),
    ],
)
def test_other_urls_are_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(BadEndpoint, match=why):
        validated_url(url, [])


def test_listed_networks_may_be_called_by_plain_http() -> None:
    assert validated_url("http://127.0.0.1:8080/hook", LOOPBACK) == "http://127.0.0.1:8080/hook"
    with pytest.raises(BadEndpoint, match="not public"):
        validated_url("http://10.0.0.1/hook", LOOPBACK)


@pytest.mark.parametrize(
    ("address", "scheme", "expected"),
    [
        ("8.8.8.8", "https", True),
        ("8.8.8.8", "http", False),
        ("127.0.0.1", "http", True),
        ("127.0.0.1", "https", True),
        ("10.0.0.1", "https", False),
        ("::1", "https", False),
        ("fe80::1%eth0", "https", False),
    ],
)
def test_requests_go_to_public_addresses_and_listed_networks(address: str, scheme: str, expected: bool) -> None:
    assert may_connect(address, scheme, LOOPBACK) is expected


def test_types_are_those_that_exist_and_none_stands_for_all() -> None:
    assert validated_types([]) is None
    assert validated_types(["message.received", "ping", "ping"]) == ["message.received", "ping"]
    with pytest.raises(BadEndpoint, match=r"message\.lost"):
        validated_types(["message.lost"])


@pytest.mark.parametrize("name", ["", " ", "a\nb", 101 * "x", "17"])
def test_names_are_printable_and_no_numbers(name: str) -> None:
    with pytest.raises(BadEndpoint):
        validated_name(name)


def test_the_query_of_a_url_is_not_shown() -> None:
    assert shown_url("https://a.example/x?token=s3cret") == "https://a.example/x?…"
    assert shown_url("https://a.example/x") == "https://a.example/x"


@given(
    key=st.binary(min_size=24, max_size=64),
    older=st.binary(min_size=24, max_size=64),
    content=st.dictionaries(st.text(), st.text()),
)
def test_standardwebhooks_verifies_the_signature_with_each_of_two_secrets(
    key: bytes, older: bytes, content: dict[str, str]
) -> None:
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    secrets = [encode_secret(key), encode_secret(older)]
    headers = dict(signed_headers("0f1d5c2e-1", int(datetime.now(UTC).timestamp()), body, secrets))
    for secret in secrets:
        assert Webhook(secret).verify(body.decode(), headers) == json.loads(body)


def test_a_changed_body_is_not_verified() -> None:
    secret = encode_secret(bytes(32))
    headers = dict(signed_headers("a", int(datetime.now(UTC).timestamp()), b"{}", [secret]))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify("{ }", headers)


@pytest.mark.parametrize("length", [23, 65])
def test_secrets_have_the_length_that_the_specification_allows(length: int) -> None:
    with pytest.raises(ValueError, match="24 to 64"):
        encode_secret(bytes(length))
