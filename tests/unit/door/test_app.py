"""The door answers each kind of request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from ingest.app import create_app
from shared.settings import Settings
from tests.unit.door.conftest import KEY, NOW, door_with, signed
from tests.unit.door.rsgi import Scope, ask, chunked

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.server import Server
    from tests.unit.door.conftest import ListKeeper
    from tests.unit.door.rsgi import Answer

    Post = Callable[..., Answer]
    Get = Callable[..., Answer]

BODY = b'{"type":"inbound_received","authorization":{"id":"cmp_4k2p9"}}'
GOOD = signed(BODY)["X-Front-Signature"]


def milliseconds(seconds_from_now: float) -> str:
    return str(round((NOW + seconds_from_now) * 1000))


def test_a_signed_webhook_is_kept_byte_for_byte(post: Post, kept: ListKeeper) -> None:
    answer = post(BODY)
    [delivery] = kept.deliveries
    assert (answer.status, answer.json, delivery.body) == (200, {"delivery_id": delivery.id}, BODY)


def test_a_delivery_knows_when_it_came(post: Post, kept: ListKeeper) -> None:
    post(BODY)
    assert kept.deliveries[0].received_at.timestamp() == pytest.approx(NOW)


def test_the_same_body_twice_is_two_deliveries(post: Post, kept: ListKeeper) -> None:
    post(BODY)
    post(BODY)
    assert len({delivery.id for delivery in kept.deliveries}) == 2


def test_an_older_signing_key_is_still_accepted(post: Post) -> None:
    assert post(BODY, key="older-key").status == 200


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
def test_any_signed_body_is_kept_without_parsing(post: Post, kept: ListKeeper, body: bytes) -> None:
    assert post(body).status == 200
    assert [delivery.body for delivery in kept.deliveries] == [body]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Front-Signature": ""}, "missing_signature"),
        ({"X-Front-Signature": GOOD[:20]}, "invalid_signature"),
        ({"X-Front-Signature": "é" * 44}, "invalid_signature"),
        ({"X-Front-Signature": GOOD.replace("=", "-")}, "invalid_signature"),
        ({"X-Front-Signature": f"{GOOD}="}, "invalid_signature"),
        (signed(BODY, key="oauth-client-secret"), "invalid_signature"),
        ({"X-Front-Request-Timestamp": ""}, "missing_signature"),
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
def test_a_wrong_signature_or_timestamp_is_401_and_not_kept(
    post: Post, kept: ListKeeper, headers: dict[str, str], code: str
) -> None:
    answer = post(BODY, headers)
    assert (answer.status, answer.json["code"], kept.deliveries) == (401, code, [])


def test_a_request_without_headers_is_401(door: Server) -> None:
    assert ask(door, Scope(headers={"content-length": str(len(BODY))}), BODY).status == 401


@pytest.mark.parametrize("at", [milliseconds(-899), milliseconds(59), str(int(NOW))], ids=["old", "ahead", "seconds"])
def test_timestamps_inside_the_window_are_accepted(post: Post, at: str) -> None:
    assert post(BODY, at=at).status == 200


def test_a_body_at_the_limit_is_accepted(post: Post) -> None:
    assert post(b"x" * 10_000).status == 200


def test_a_body_over_the_limit_is_413(post: Post, kept: ListKeeper) -> None:
    answer = post(b"x" * 10_001)
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert kept.deliveries == []


def test_a_chunked_body_is_accepted(door: Server, kept: ListKeeper) -> None:
    body = b"x" * 9_999
    scope, _ = chunked()
    headers = {name.lower(): value for name, value in signed(body).items()}
    assert ask(door, Scope(headers={**scope.headers, **headers}), body[:70], body[70:]).status == 200  # type: ignore[dict-item]
    assert kept.deliveries[0].body == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_415(post: Post, kept: ListKeeper, encoding: str) -> None:
    answer = post(BODY, {"Content-Encoding": encoding})
    assert (answer.status, answer.json["code"]) == (415, "encoded_body")
    assert kept.deliveries == []


def test_the_encoding_identity_is_accepted(post: Post) -> None:
    assert post(BODY, {"Content-Encoding": "identity"}).status == 200


def test_a_challenge_is_echoed_and_nothing_kept(post: Post, kept: ListKeeper) -> None:
    answer = post(b'{"type":"sync"}', {"X-Front-Challenge": "k3y<b>&"})
    assert (answer.status, answer.mimetype, answer.json) == (
        200,
        "application/json",
        {"challenge": "k3y<b>&"},
    )
    assert kept.deliveries == []


def test_a_challenge_is_not_echoed_to_strangers(post: Post) -> None:
    answer = post(b'{"type":"sync"}', {"X-Front-Challenge": "probe", "X-Front-Signature": "A" * 44})
    assert answer.status == 401
    assert b"probe" not in answer.body


def test_an_overlong_challenge_is_400(post: Post) -> None:
    assert post(b'{"type":"sync"}', {"X-Front-Challenge": "x" * 1_000}).status == 200
    assert post(b'{"type":"sync"}', {"X-Front-Challenge": "x" * 1_001}).status == 400


@pytest.mark.parametrize(
    "body", [b'{"type":"sync"}', b'{"authorization": {"id": "cmp_1"}, "payload": null, "type": "sync"}']
)
def test_a_sync_without_challenge_is_answered_and_not_kept(post: Post, kept: ListKeeper, body: bytes) -> None:
    answer = post(body)
    assert (answer.status, answer.json, kept.deliveries) == (200, {}, [])


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"sync","payload":{"id":"evt_1"}}',
        b'{"type":"inbound_received","payload":{"id":"sync"}}',
        b'["sync"]',
        b'"sync"',
        b'{"type":"sync"',
        b"[" * 900 + b'"sync"',
        b'{"type":"sync","padding":"' + b"x" * 1_024 + b'"}',  # too large to be looked into: the recorder drops it
    ],
)
def test_whatever_may_be_an_event_is_kept(post: Post, kept: ListKeeper, body: bytes) -> None:
    assert post(body).status == 200
    assert len(kept.deliveries) == 1


def test_front_is_told_to_retry_while_both_stores_are_away(post: Post, kept: ListKeeper) -> None:
    kept.down = True
    answer = post(BODY)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json["code"] == "nothing_stored"
    assert b"secret" not in answer.body


def test_an_unkept_delivery_is_logged_by_its_id(post: Post, kept: ListKeeper) -> None:
    kept.down = True
    with capture_logs() as lines:
        post(BODY)
    [line] = lines
    assert (line["event"], line["log_level"], len(line["delivery_id"])) == ("delivery_not_kept", "warning", 32)


def test_a_refusal_is_logged_with_its_code(post: Post) -> None:
    with capture_logs() as lines:
        post(BODY, {"X-Front-Signature": ""})
    assert [(line["event"], line["code"]) for line in lines] == [("request_refused", "missing_signature")]


def test_a_refusal_repeats_nothing_of_the_request(post: Post) -> None:
    answer = post(b"the-secret-subject", {"X-Front-Signature": "c2VjcmV0LXNpZ25hdHVyZQ=="})
    assert b"secret" not in answer.body.replace(b"OAuth client secret", b"")


@pytest.mark.parametrize(
    ("headers", "result"),
    [({"X-Front-Signature": ""}, "missing_signature"), ({"X-Front-Challenge": "x"}, "challenge")],
)
def test_an_unkept_request_is_counted(post: Post, headers: dict[str, str], result: str) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("mailroom_deliveries_total", {"result": result}) or 0.0

    before = count()
    post(BODY, headers)
    assert count() == before + 1


def test_the_duration_of_every_answer_is_measured(post: Post) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("mailroom_door_seconds_count") or 0.0

    before = count()
    post(BODY)
    post(BODY, {"X-Front-Signature": ""})
    assert count() == before + 2


def test_a_server_that_keeps_nothing_cannot_acknowledge() -> None:
    """Any WSGI server can run the application, but without a Hold in the environment no webhook gets a 2xx."""
    client = create_app(Settings(front_signing_keys=[KEY]), now=lambda: NOW).test_client()
    assert client.post("/webhooks/front", data=BODY, headers=signed(BODY)).status_code == 500
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/webhooks/front", 405, "method_not_allowed"),
        ("POST", "/elsewhere", 404, "not_found"),
        # No redirects: Front would not follow them with its body
        ("POST", "/webhooks/front/", 404, "not_found"),
        ("POST", "/webhooks//front", 404, "not_found"),
    ],
)
def test_every_refusal_is_problem_json(get: Get, method: str, path: str, status: int, code: str) -> None:
    answer = get(path, method)
    assert (answer.status, answer.mimetype, answer.json["code"]) == (status, "application/problem+json", code)


def test_a_405_names_the_allowed_method(get: Get) -> None:
    assert "POST" in get("/webhooks/front").headers["Allow"]


def test_livez_asks_no_store(get: Get, kept: ListKeeper) -> None:
    kept.bug = RuntimeError("not to be asked")
    assert get("/livez").json == {"alive": True}


def test_readyz_shows_its_checks(get: Get) -> None:
    answer = get("/readyz")
    assert (answer.status, answer.json) == (200, {"ready": True, "checks": {"intake": "writable"}})


def test_a_door_without_a_writable_store_is_not_ready(get: Get, kept: ListKeeper) -> None:
    kept.down = True
    answer = get("/readyz")
    assert (answer.status, answer.json) == (503, {"ready": False, "checks": {"intake": "away", "spool": "away"}})


def test_metrics_are_served(get: Get, post: Callable[..., Answer]) -> None:
    post(b"{}")
    answer = get("/metrics")
    assert answer.mimetype == "text/plain"
    assert b"mailroom_door_seconds_bucket" in answer.body


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/readyz", "//readyz"])
def test_a_door_with_a_private_port_has_no_metrics(kept: ListKeeper, path: str) -> None:
    answer = ask(door_with(kept, metrics_port=8083), Scope(method="GET", path=path))
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_the_answer_to_head_has_no_body(get: Get) -> None:
    answer = get("/livez", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
