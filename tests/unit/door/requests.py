"""Hypothesis strategies for requests: mostly Front's webhooks, each with a few oddities."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.unit.door.conftest import KEY, NOW
from tests.unit.door.rsgi import Headers, Proto, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DrawFn, SearchStrategy

LIMIT = 300_000  # bytes; bodies on both sides of the threads' limit are smaller


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request with its body."""

    scope: Scope
    body: bytes

    def proto(self) -> Proto:
        return Proto(self.body[:7], self.body[7:])


def usually(usual: Any, *others: Any) -> SearchStrategy[Any]:
    """Draw the usual value mostly: with many oddities at once, every request would be refused for the first."""
    return st.integers(0, 5).flatmap(lambda dice: st.sampled_from(others) if dice == 0 else st.just(usual))


METHODS = usually("POST", "GET", "post", "PUT", "HEAD", "OPTIONS", "DELETE", "POSTS")
PATHS = usually(
    "/webhooks/front",
    *("/webhooks/front/", "//webhooks/front", "/webhooks//front", "/Webhooks/front", "/webhooks/frönt", "/webhooks"),
    *("/webhooks/front\x00", "/webhooks/front%20", "/", "", "*", "/livez"),
)
QUERIES = usually("", "a=b", "a=%ff&a", "next=/webhooks/front", "é")
BODIES = st.one_of(
    st.binary(max_size=200),
    usually(b'{"type":"inbound_received"}', b"", b"\x00\xff", b"[" * 9_000),
    st.sampled_from([b"x" * size for size in (64 * 1024, 64 * 1024 + 1, 2**18, 2**18 + 1, LIMIT, LIMIT + 1)]),
)
AGES = usually(0.0, -59.9, -60.0, -61.0, 899.9, 900.0, 901.0, 86_400.0)
TIMESTAMPS: SearchStrategy[Callable[[float], str]] = usually(
    lambda at: str(int(at * 1000)),
    lambda at: str(int(at)),
    lambda at: f"{at:.3f}",
    lambda at: f"-{int(at)}",
    lambda _: "",
    lambda _: "yesterday",
    lambda _: "٣",
    lambda _: "9" * 16,
    lambda _: "0",
)
KEYS = usually(KEY, "older-key", "oauth-client-secret", "")
SIGNATURE_SPELLINGS: SearchStrategy[Callable[[str], str]] = usually(
    str,
    str.lower,
    lambda text: text[:-1],
    lambda text: f" {text}",
    lambda text: f"{text},{text}",
    lambda _: "",
    "é".join,
)
LENGTHS: SearchStrategy[Callable[[int], list[tuple[str, str]]]] = usually(
    lambda size: [("content-length", str(size))],
    lambda size: [("content-length", f"0{size}")],
    lambda size: [("content-length", str(size + 1))],
    lambda size: [("content-length", str(size)), ("content-length", str(size))],
    lambda _: [("content-length", str(LIMIT + 1))],
    lambda _: [("transfer-encoding", "chunked")],
    lambda size: [("content-length", str(size)), ("transfer-encoding", "chunked")],
    lambda _: [],
)
HOSTS = usually(
    "hooks.example.com",
    *("127.0.0.1:8080", "LOCALHOST", "[::1]:80", "a:0", "a:99999", "a:123456", "a..b", ".a", "a.", "a" * 64, "a_b"),
    *("", "a b", "a/b", "a@b", "ä", "xn--4", "-", "a,b"),
)
OTHER_HEADERS = st.lists(
    st.sampled_from(
        [
            *[("content-type", value) for value in ("application/json", "text/plain", "", "multipart/form-data", "é")],
            *[("content-type", value) for value in ("application/x-www-form-urlencoded", "multipart/form-data; b=x")],
            *[("content-encoding", value) for value in ("identity", "gzip", "", "IDENTITY ")],
            *[("connection", value) for value in ("close", "upgrade", "keep-alive, Upgrade")],
            *[("upgrade", value) for value in ("websocket", "h2c")],
            *[("x-front-challenge", value) for value in ("", "k3y<b>&", "é\u2028", "x" * 1_000, "x" * 1_001)],
            *[("x_front_signature", "one"), ("x-front_challenge", "one"), ("x-front-signature", "two")],
            *[("host", "another"), ("cookie", "session=x"), ("cookie", "="), ("expect", "100-continue")],
            *[("x-http-method-override", "GET"), ("x-forwarded-host", "a..b"), ("x-forwarded-prefix", "/x")],
            *[
                ("content_length", "1"),
                ("transfer-encoding", "gzip"),
                ("authorization", "Basic é"),
                ("range", "bytes=1-"),
            ],
            *[("", "nameless"), ("accept", "text/html"), ("if-none-match", "*")],
        ]
    ),
    max_size=3,
)


@st.composite
def requests(draw: DrawFn) -> Request:
    """Draw any request; about one in five is a valid webhook."""
    body = draw(BODIES)
    at = draw(TIMESTAMPS)(NOW - draw(AGES))
    signature = base64.b64encode(hmac.digest(draw(KEYS).encode(), at.encode() + b":" + body, hashlib.sha256)).decode()
    front = [("x-front-request-timestamp", at), ("x-front-signature", draw(SIGNATURE_SPELLINGS)(signature))]
    headers = [("host", draw(HOSTS)), *draw(usually(front, front[:1], front[1:], []))]
    headers = draw(st.permutations([*headers, *draw(LENGTHS)(len(body)), *draw(OTHER_HEADERS)]))
    scope = Scope(method=draw(METHODS), path=draw(PATHS), query_string=draw(QUERIES), headers=Headers(headers))
    return Request(scope=scope, body=body)
