"""Texts that describe a user are taken as they will be read: nothing invisible, one bare address a field."""

from __future__ import annotations

import pytest

from console.user_validation import BadUser, validated_user
from shared.db.tenants.tenants import is_name

HIDDEN = ["\u200b", "\u202e", "\ufeff", "\u2060", "\u00ad", "\u061c", "\u2066", "\x9b", "\x7f", "\U000e0041"]


def mistakes(*, external_id: str = "1", name: str = "Nora", email: str = "nora@acme.example") -> str:
    """Return the mistakes of a user; empty when there is none."""
    try:
        validated_user(external_id, name, [email], "")
    except BadUser as error:
        return str(error)
    return ""


@pytest.mark.parametrize("char", HIDDEN, ids=ascii)
def test_a_character_that_nobody_sees_is_refused_and_named(char: str) -> None:
    named = f"character (U+{ord(char):04X}); remove it"
    assert mistakes(external_id=f"1{char}7").endswith(named)
    assert mistakes(name=f"No{char}ra").endswith(named)
    assert not is_name(f"Ac{char}me")


@pytest.mark.parametrize("char", ["\u200c", "\u200d", "\ufe0f", "\u3164", "\u034f"], ids=ascii)
def test_an_id_has_nothing_invisible_at_all(char: str) -> None:
    assert mistakes(external_id=f"پ{char}ر") == f"external_id has an invisible character (U+{ord(char):04X}); remove it"


@pytest.mark.parametrize("name", ["علی‌رضا", "کار‌آفرین", "क्‍ष", "ශ්‍රී", "র‍্যাব", "👩‍💻 Nora", "Zoë d’Äbo"])
def test_a_joiner_that_a_script_needs_is_part_of_a_name(name: str) -> None:
    assert mistakes(name=name) == ""
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["No\u200dra", "Nora\u200c", "\u200dNora", "é\u200dé", "е\u200cа", "علی‌\u200c", "a\u0301\u200db"]
)
def test_a_joiner_that_only_hides_is_refused(name: str) -> None:
    assert "name has an invisible character (U+200" in mistakes(name=name)
    assert not is_name(name)


@pytest.mark.parametrize(
    ("email", "remedy"),
    [
        ("mailto:ola@x.example", "; write 'ola@x.example'"),
        ("pia@x.example.", "; write 'pia@x.example'"),
        ("'nora@acme.example'", "; write 'nora@acme.example'"),
        ("“nora@acme.example”", "; write 'nora@acme.example'"),
        ("<nora@acme.example>", "; write 'nora@acme.example'"),
        ("Nora <nora@acme.example>", ""),
        ("http://x@acme.example", ""),
        ("nora@acme.example/", ""),
        ("nora@acme..example", ""),
        ("nora@.example", ""),
        ("nora@acme.example?subject=Hi", ""),
        ("'nora@acme.example", ""),
        ("nora@acme.example'", ""),
        ("nora@[192.0.2.1]", ""),
    ],
)
def test_what_is_no_bare_address_is_refused_with_the_way_to_write_it(email: str, remedy: str) -> None:
    assert mistakes(email=email) == f"{email!r} is no address{remedy}"


@pytest.mark.parametrize(
    "email",
    [
        "O'Neil/HR@example.com",
        "a..b@example.com",
        "Scan@printer.local",
        "root@localhost",
        "A@under_score.example",
        "jürgen@exämple.com",
        "जन@हिन्दी.भारत",
        "a@☃.example",
        "nora+a=b&c@acme.example",
        "m.weiß@faß.example",
    ],
)
def test_real_addresses_are_taken(email: str) -> None:
    assert mistakes(email=email) == ""
