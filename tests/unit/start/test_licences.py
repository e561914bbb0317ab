"""The licence of each locked package is known and allowed; others are found."""

from __future__ import annotations

import pytest

from docs.licences import ALLOWED, ALLOWED_TOOLS, is_allowed, licences


def test_every_locked_package_has_an_allowed_licence() -> None:
    listed = list(licences())
    assert {each.package for each in listed if each.is_installed} >= {"flask", "celery", "psycopg"}
    assert [f"{each.package}: {each.text}" for each in listed if not each.is_allowed] == []


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("MIT", True),
        # One of several is enough, and all of several are needed
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MPL-2.0 AND (Apache-2.0 OR AGPL-3.0-only)", True),
        # Nothing is guessed
        ("", False),
        ("unknown", False),
        ("BSD", False),
        ("Copyright 2008 somebody", False),
        ("AGPL-3.0-only", False),
    ],
)
def test_a_licence_is_judged_by_its_expression(text: str, allowed: bool) -> None:
    assert is_allowed(text, ALLOWED) == allowed


def test_a_tool_of_developers_may_have_another_licence() -> None:
    assert is_allowed("GPL-3.0-or-later", ALLOWED_TOOLS)
    assert not is_allowed("GPL-3.0-or-later", ALLOWED)
