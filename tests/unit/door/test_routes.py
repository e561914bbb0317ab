"""What the door answers beside webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.test import TestResponse

    from tests.unit.door.conftest import Kept


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/webhooks/front", 405, "method_not_allowed"), ("POST", "/elsewhere", 404, "not_found")],
)
def test_every_no_is_problem_json(client: Any, method: str, path: str, status: int, code: str) -> None:
    response = client.open(path, method=method)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    assert response.json["code"] == code


def test_a_wrong_method_is_told_the_right_one(client: Any) -> None:
    assert "POST" in client.get("/webhooks/front").headers["Allow"]


def test_livez_asks_nobody(client: Any, kept: Kept) -> None:
    kept.down = True
    assert client.get("/livez").json == {"alive": True}


def test_readyz_shows_its_checks(client: Any) -> None:
    assert client.get("/readyz").json == {"ready": True, "checks": {"intake": "writable"}}


def test_metrics_are_served(client: Any, post: Callable[..., TestResponse]) -> None:
    post(b"{}")
    assert "mailroom_door_seconds_bucket" in client.get("/metrics").text
