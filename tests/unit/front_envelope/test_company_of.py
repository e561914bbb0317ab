"""Whose a body is, also where it is damaged."""

from __future__ import annotations

import pytest

from shared.front.envelope import company_of


@pytest.mark.parametrize(
    ("body", "company"),
    [
        (b'{"type": "sync", "authorization": {"id": "cmp_a"}}', "cmp_a"),
        # No JSON, but it says whose it is
        (
            b'{"type": "inbound_received", "authorization" : {"type":"company", "id":\n"cmp_a"}, "payload": NaN}',
            "cmp_a",
        ),
        (b'{"authorization": {"id": "cmp_a"}', "cmp_a"),
        # What only mentions a company, is nobody's
        (b'{"text": "cmp_a"', None),
        (b'{"authorization": {}, "id": "cmp_a"', None),
        # What can be read is read: an envelope of another's that is quoted counts for nothing
        (
            b'{"text": "\\"authorization\\": {\\"id\\": \\"cmp_b\\"}", "type": "t", "authorization": {"id": "cmp_a"}}',
            "cmp_a",
        ),
        (b"", None),
        (b"\xff\x00" * 10, None),
    ],
)
def test_company_of(body: bytes, company: str | None) -> None:
    assert company_of(body) == company
