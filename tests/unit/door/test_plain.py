"""Which requests need no framework, and that none is answered differently for it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ingest.plain import LARGE, headers_of_webhook
from tests.unit.door.conftest import signed
from tests.unit.door.rsgi import Scope
from tests.unit.door.test_reception import BODY, LateKeeper, a_reception, ask, webhook

PLAIN = webhook()
LATE = signed(BODY, at="1786430000000")


class Twice(dict[str, str]):
    """A header that came twice."""

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # Granian gives a list
        return [*super().items(), ("x-front-signature", "another")]


def with_headers(**headers: str) -> Scope:
    return replace(PLAIN, headers={**PLAIN.headers, **{name.replace("_", "-"): headers[name] for name in headers}})


def test_a_webhook_whose_length_is_announced_is_plain() -> None:
    assert headers_of_webhook(PLAIN, BODY) == PLAIN.headers  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "body"),
    [
        (replace(PLAIN, method="GET"), BODY),
        (replace(PLAIN, path="/webhooks/front/"), BODY),
        (PLAIN, BODY[:5]),  # or refused for its length and therefore not read
        (replace(PLAIN, headers={"transfer-encoding": "chunked"}), BODY),
        (with_headers(content_length=f"+{len(BODY)}"), BODY),
        (with_headers(content_encoding="gzip"), BODY),
        (replace(PLAIN, headers=Twice(PLAIN.headers)), BODY),
        (with_headers(content_length=str(LARGE + 1)), b"x" * (LARGE + 1)),
    ],
    ids=["method", "path", "short", "chunked", "odd length", "encoded", "header twice", "large"],
)
def test_what_http_leaves_open_is_not_plain(scope: Scope, body: bytes) -> None:
    assert headers_of_webhook(scope, body) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "scope",
    [
        with_headers(x_front_challenge="word"),
        with_headers(x_front_challenge="x" * 1_001),
        with_headers(x_front_signature="wrong"),
        with_headers(**{name.lower(): LATE[name] for name in LATE}),
        Scope(headers={"content-length": str(len(BODY))}),
    ],
    ids=["challenge", "long challenge", "signature", "stale", "unsigned"],
)
def test_both_ways_give_the_same_answer(scope: Scope) -> None:
    [through] = ask(a_reception(LateKeeper(), straight=False), scope, BODY).answers
    [straight] = ask(a_reception(LateKeeper(), straight=True), scope, BODY).answers
    assert straight == through
    assert json.loads(straight[2])
