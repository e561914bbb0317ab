"""A sender's file name becomes one that every system can write, in a header that no name can leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header

from console.attachment_content import LONGEST_NAME, disposition, safe_filename


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("Übersicht 2026 ✓.pdf", "Übersicht 2026 ✓.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Users\\x.exe", "C_Users_x.exe"),
        ("", "file"),
        ("...", "file"),
        (" .bashrc", "bashrc"),
        ("CON", "_CON"),
        ("aux.txt", "_aux.txt"),
        ("conference.pdf", "conference.pdf"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("a\r\nSet-Cookie: x", "a_Set-Cookie_ x"),
        ("x" * 300 + ".pdf", "x" * (LONGEST_NAME - 4) + ".pdf"),
        ("x." + "y" * 300, "x." + "y" * (LONGEST_NAME - 2)),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_filename(name) == safe


@given(st.text())
def test_any_name_is_safe(name: str) -> None:
    safe = safe_filename(name)
    assert 0 < len(safe) <= LONGEST_NAME + 1
    assert safe.isprintable() or "\u200c" in safe or "\u200d" in safe
    assert not set(safe) & set('/\\:*?"<>|%')
    assert safe not in {".", ".."}


@given(st.text())
def test_the_header_says_the_name_and_nothing_else(name: str) -> None:
    headers = Headers({"Content-Disposition": disposition(name)})  # refuses the end of a line
    value = headers["Content-Disposition"]
    kind, options = parse_options_header(value)
    assert value.isascii()
    assert (kind, options) == ("attachment", {"filename": safe_filename(name)})
