"""What the door answers, request by request."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from tests.unit.door.conftest import NOW, signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.test import TestResponse

    from tests.unit.door.conftest import Kept

    Post = Callable[..., TestResponse]

BODY = b'{"type":"inbound_received","authorization":{"id":"cmp_4k2p9"}}'
GOOD = signed(BODY)["X-Front-Signature"]


def milliseconds(seconds_from_now: float) -> str:
    return str(round((NOW + seconds_from_now) * 1000))


def test_a_signed_webhook_is_kept_byte_for_byte(post: Post, kept: Kept) -> None:
    response = post(BODY)
    [delivery] = kept.deliveries
    assert (response.status_code, response.json, delivery.body) == (200, {"delivery_id": delivery.id}, BODY)


def test_a_delivery_knows_when_it_came(post: Post, kept: Kept) -> None:
    post(BODY)
    assert kept.deliveries[0].received_at.timestamp() == pytest.approx(NOW)


def test_the_same_body_twice_is_two_deliveries(post: Post, kept: Kept) -> None:
    post(BODY)
    post(BODY)
    assert len({delivery.id for delivery in kept.deliveries}) == 2


def test_an_older_key_still_opens(post: Post) -> None:
    assert post(BODY, key="older-key").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b'"text"',
        b"null",
        b'{"type": NaN, "n": Infinity}',
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"subject": "\\u0000 \\ud800"}',
        b"\x00\xff\xfe",
        b'{"type": "a", "type": "b"}',
        b"[" * 9_000,
    ],
    ids=["empty", "text", "list", "string", "null", "NaN", "long number", "NUL", "binary", "twice", "deep"],
)
def test_whatever_front_signed_is_kept_unread(post: Post, kept: Kept, body: bytes) -> None:
    assert post(body).status_code == 200
    assert [delivery.body for delivery in kept.deliveries] == [body]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Front-Signature": ""}, "invalid_signature"),
        ({"X-Front-Signature": GOOD[:20]}, "invalid_signature"),
        ({"X-Front-Signature": "é" * 44}, "invalid_signature"),
        ({"X-Front-Signature": GOOD.replace("=", "-")}, "invalid_signature"),
        ({"X-Front-Signature": f"{GOOD}="}, "invalid_signature"),
        (signed(BODY, key="oauth-client-secret"), "invalid_signature"),
        ({"X-Front-Request-Timestamp": ""}, "invalid_signature"),
        ({"X-Front-Request-Timestamp": milliseconds(-1)}, "invalid_signature"),
        (signed(BODY, at=milliseconds(-901)), "stale_timestamp"),
        (signed(BODY, at=milliseconds(61)), "stale_timestamp"),
        (signed(BODY, at="yesterday"), "stale_timestamp"),
        (signed(BODY, at="9" * 16), "stale_timestamp"),
    ],
    ids=[
        *("none", "short", "non-ASCII", "alphabet", "padding", "OAuth secret"),
        *("no time", "other time", "stale", "future", "words", "long"),
    ],
)
def test_what_is_not_from_front_now_is_401_and_not_kept(
    post: Post, kept: Kept, headers: dict[str, str], code: str
) -> None:
    response = post(BODY, headers)
    assert (response.status_code, response.json and response.json["code"], kept.deliveries) == (401, code, [])


def test_headers_may_be_missing_altogether(client: Any, kept: Kept) -> None:
    assert client.post("/webhooks/front", data=BODY).status_code == 401


@pytest.mark.parametrize("at", [milliseconds(-899), milliseconds(59), str(int(NOW))], ids=["old", "ahead", "seconds"])
def test_timestamps_inside_the_window_are_taken(post: Post, at: str) -> None:
    assert post(BODY, at=at).status_code == 200


def test_a_body_at_the_limit_is_taken(post: Post) -> None:
    assert post(b"x" * 10_000).status_code == 200


def test_a_body_over_the_limit_is_413(post: Post, kept: Kept) -> None:
    response = post(b"x" * 10_001)
    assert (response.status_code, response.json and response.json["code"]) == (413, "body_too_large")
    assert kept.deliveries == []


class Chunks:
    """A body without Content-Length that counts what is read of it."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.taken = 0

    def read(self, size: int) -> bytes:
        piece = b"x" * min(size, self.left)
        self.left -= len(piece)
        self.taken += len(piece)
        return piece


def post_chunked(client: Any, chunks: Chunks, headers: dict[str, str]) -> TestResponse:
    as_the_server_gives_it = {"wsgi.input": chunks, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response: TestResponse = client.post("/webhooks/front", headers=headers, environ_overrides=as_the_server_gives_it)
    return response


def test_a_chunked_body_is_taken(client: Any, kept: Kept) -> None:
    assert post_chunked(client, Chunks(9_999), signed(b"x" * 9_999)).status_code == 200
    assert len(kept.deliveries[0].body) == 9_999


def test_an_endless_body_is_413_and_not_read_on(client: Any, kept: Kept) -> None:
    chunks = Chunks(10**9)
    assert post_chunked(client, chunks, {}).status_code == 413
    assert chunks.taken < 200_000


def test_a_body_cut_short_is_400(client: Any, kept: Kept) -> None:
    response = client.post(
        "/webhooks/front",
        headers=signed(BODY),
        input_stream=io.BytesIO(BODY),
        environ_overrides={"CONTENT_LENGTH": str(len(BODY) + 1)},
    )
    assert (response.status_code, kept.deliveries) == (400, [])


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_415(post: Post, kept: Kept, encoding: str) -> None:
    response = post(BODY, {"Content-Encoding": encoding})
    assert (response.status_code, response.json and response.json["code"]) == (415, "encoded_body")
    assert kept.deliveries == []


def test_identity_is_no_encoding(post: Post) -> None:
    assert post(BODY, {"Content-Encoding": "identity"}).status_code == 200


def test_a_challenge_is_echoed_and_nothing_kept(post: Post, kept: Kept) -> None:
    response = post(b'{"type":"sync"}', {"X-Front-Challenge": "k3y<b>&"})
    assert (response.status_code, response.mimetype, response.json) == (
        200,
        "application/json",
        {"challenge": "k3y<b>&"},
    )
    assert kept.deliveries == []


def test_a_challenge_is_not_echoed_to_strangers(post: Post) -> None:
    response = post(b'{"type":"sync"}', {"X-Front-Challenge": "probe", "X-Front-Signature": "A" * 44})
    assert response.status_code == 401
    assert b"probe" not in response.data


def test_an_overlong_challenge_is_400(post: Post) -> None:
    assert post(b'{"type":"sync"}', {"X-Front-Challenge": "x" * 1_000}).status_code == 200
    assert post(b'{"type":"sync"}', {"X-Front-Challenge": "x" * 1_001}).status_code == 400


def test_a_sync_without_challenge_is_kept_like_any_other(post: Post, kept: Kept) -> None:
    assert post(b'{"type":"sync"}').status_code == 200
    assert len(kept.deliveries) == 1


def test_front_is_asked_to_come_back_while_both_stores_are_away(post: Post, kept: Kept) -> None:
    kept.down = True
    response = post(BODY)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json
    assert response.json["code"] == "nothing_stored"


def test_a_refusal_repeats_nothing_that_was_sent(post: Post) -> None:
    response = post(b"the-secret-subject", {"X-Front-Signature": "c2VjcmV0LXNpZ25hdHVyZQ=="})
    assert b"secret" not in response.data.replace(b"OAuth client secret", b"")


@pytest.mark.parametrize(
    ("headers", "result"),
    [({}, "intake"), ({"X-Front-Signature": ""}, "invalid_signature"), ({"X-Front-Challenge": "x"}, "challenge")],
)
def test_every_answer_is_counted(post: Post, headers: dict[str, str], result: str) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("mailroom_deliveries_total", {"result": result}) or 0.0

    before = count()
    post(BODY, headers)
    assert count() == before + 1


def test_a_bug_is_500_and_says_nothing(client: Any, kept: Kept, post: Post) -> None:
    kept.deliveries = None  # type: ignore[assignment]
    response = post(BODY)
    assert response.status_code == 500
    assert json.loads(response.data)["code"] == "internal_server_error"
