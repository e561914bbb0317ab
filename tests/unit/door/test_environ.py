"""What a WSGI application reads of a request from the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingest.minimal_flask import Hold
from ingest.server import environ_of
from tests.unit.door.rsgi import Headers, Scope

if TYPE_CHECKING:
    from collections.abc import Callable


def of(**scope: Any) -> dict[str, Any]:
    return environ_of(Scope(**scope), b"body", Hold())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "key", "value"),
    [
        ({"method": "PUT"}, "REQUEST_METHOD", "PUT"),
        ({"path": "/é"}, "PATH_INFO", "/Ã©"),  # PEP 3333: bytes, spelled as latin-1
        ({"query_string": "a=%20"}, "QUERY_STRING", "a=%20"),
        ({"query_string": "a=€"}, "QUERY_STRING", "a=€".encode().decode("latin-1")),  # as above
        ({"headers": {"content-length": "4"}}, "CONTENT_LENGTH", "4"),
        ({"headers": {"content-type": "text/plain"}}, "CONTENT_TYPE", "text/plain"),
        ({"headers": {"x-front-signature": "abc"}}, "HTTP_X_FRONT_SIGNATURE", "abc"),
        (
            {"headers": Headers([("x-front-signature", "one"), ("x-front-signature", "two")])},
            "HTTP_X_FRONT_SIGNATURE",
            "one,two",
        ),
        ({"client": "::1:50000"}, "REMOTE_ADDR", "::1"),
        ({"server": "127.0.0.1:8080"}, "SERVER_PORT", "8080"),
    ],
)
def test_the_environment(scope: dict[str, Any], key: str, value: str) -> None:
    assert of(**scope)[key] == value


def test_a_header_with_an_underscore_cannot_pass_itself_off_as_another() -> None:
    assert "HTTP_X_FRONT_SIGNATURE" not in of(headers={"x_front_signature": "abc"})


def test_the_body_is_the_input() -> None:
    read: Callable[[], bytes] = of()["wsgi.input"].read
    assert read() == b"body"
