"""The server reads the head of a request in every valid form."""

from __future__ import annotations

import io

import pytest

from sandbox.server import read_head


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"\r\n", {}),
        (b"Host: front\r\nCONTENT-LENGTH:5\r\n\r\nbody:", {"host": "front", "content-length": "5"}),
        # A value with colons, an empty value, and lines that end with a line feed alone
        (b"Referer:  http://x:1/ \nX-Empty:\n\n", {"referer": "http://x:1/", "x-empty": ""}),
        # The connection ended within the head
        (b"Host: front\r\n", {"host": "front"}),
    ],
)
def test_headers_are_read_up_to_the_empty_line(sent: bytes, read: dict[str, str]) -> None:
    assert read_head(io.BytesIO(sent)) == read
