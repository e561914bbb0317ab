"""How much of HTTP the measurement reads."""

from __future__ import annotations

import pytest

from bench.door.message import whole_length


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 43),
        (b"HTTP/1.1 200 OK\r\ncontent-length:5\r\nDate: today\r\n\r\n", 55),  # the body is yet to come
        (b"HTTP/1.1 200 OK\r\nContent-Len", None),
    ],
)
def test_a_message_says_how_long_it_is(received: bytes, expected: int | None) -> None:
    assert whole_length(received) == expected


def test_a_request_without_a_length_has_no_body() -> None:
    assert whole_length(b"GET / HTTP/1.1\r\n\r\n", without=0) == 18


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        whole_length(b"HTTP/1.1 200 OK\r\n\r\n")
