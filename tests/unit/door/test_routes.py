"""What the door answers beside webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.door.conftest import Kept
    from tests.unit.door.rsgi import Answer

    Get = Callable[..., Answer]


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
def test_every_no_is_problem_json(get: Get, method: str, path: str, status: int, code: str) -> None:
    answer = get(path, method)
    assert (answer.status, answer.mimetype, answer.json["code"]) == (status, "application/problem+json", code)


def test_a_wrong_method_is_told_the_right_one(get: Get) -> None:
    assert "POST" in get("/webhooks/front").headers["Allow"]


def test_livez_asks_nobody(get: Get, kept: Kept) -> None:
    kept.bug = RuntimeError("not to be asked")
    assert get("/livez").json == {"alive": True}


def test_readyz_shows_its_checks(get: Get) -> None:
    answer = get("/readyz")
    assert (answer.status, answer.json) == (200, {"ready": True, "checks": {"intake": "writable"}})


def test_a_door_without_a_writable_store_is_not_ready(get: Get, kept: Kept) -> None:
    kept.down = True
    answer = get("/readyz")
    assert (answer.status, answer.json) == (503, {"ready": False, "checks": {"intake": "away", "spool": "away"}})


def test_metrics_are_served(get: Get, post: Callable[..., Answer]) -> None:
    post(b"{}")
    answer = get("/metrics")
    assert answer.mimetype == "text/plain"
    assert b"mailroom_door_seconds_bucket" in answer.body


def test_no_body_comes_with_the_answer_to_head(get: Get) -> None:
    answer = get("/livez", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
