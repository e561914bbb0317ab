"""One address is recognised in every spelling, and no other address is taken for it."""

from __future__ import annotations

import json

import pytest

from shared.subject_address import NotAnAddress, SubjectAddress

JANE = SubjectAddress.parse("Jane.Doe@Acme.example")
MASK = JANE.mask(b"secret")


@pytest.mark.parametrize(
    "text",
    [
        "jane.doe@acme.example",
        "JANE.DOE@ACME.EXAMPLE",
        "Jane <jane.doe@acme.example>, and more",
        "mailto:jane.doe@acme.example",
        "https://x.example/?to=jane.doe%40acme.example&b=1",
        "https://x.example/?to=mailto%3Ajane.doe%40acme.example",
        "jane.doe&#64;acme.example",
        "jane.doe&#x40;acme.example",
        "Write to jane.doe@acme.example.",
        r'{"detail": "first\njane.doe@acme.example"}',
        r"jane.doe\u0040acme.example",
        r"\u006aane.doe@acme.example",
    ],
)
def test_a_spelling_is_recognised(text: str) -> None:
    assert JANE.is_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "mary.jane.doe@acme.example",
        "x-jane.doe@acme.example",
        "jane.doe@acme.example.org",
        "jane.doe@acme.example-mail.org",
        "janexdoe@acme.example",
        "jane.doe@acme",
        "jane.doe+bills@acme.example",
        "",
    ],
)
def test_another_address_is_left_alone(text: str) -> None:
    assert not JANE.is_in(text)
    assert JANE.masked(text, MASK) == text


def test_a_domain_is_found_in_letters_and_in_a_labels() -> None:
    for given in ("x@bücher.example", "x@xn--bcher-kva.example"):
        address = SubjectAddress.parse(given)
        assert all(map(address.is_in, ("X@Bücher.example", "x@XN--BCHER-KVA.example")))
        assert address.is_in(json.dumps({"to": "x@bücher.example"}))


def test_a_plus_is_found_as_links_write_it() -> None:
    address = SubjectAddress.parse("jane+bills@acme.example")
    assert address.is_in("?to=jane%2Bbills%40acme.example")
    assert not address.is_in("jane@acme.example")


def test_a_mask_is_the_same_for_an_address_and_needs_the_key() -> None:
    assert SubjectAddress.parse("jane.doe@acme.example").mask(b"secret") == MASK
    assert JANE.mask(b"another") != MASK
    assert SubjectAddress.parse("john@acme.example").mask(b"secret") != MASK


def test_a_body_keeps_everything_else() -> None:
    body = {"a": ["To jane.doe@acme.example", 7, None], "jane.doe@acme.example": {"b": "mary.jane.doe@acme.example"}}
    masked = JANE.masked_body(json.dumps(body).encode(), MASK)
    assert json.loads(masked) == {"a": [f"To {MASK}", 7, None], MASK: {"b": "mary.jane.doe@acme.example"}}
    assert not JANE.is_in_body(masked)


def test_a_body_that_is_no_json_is_masked_as_text() -> None:
    assert JANE.masked_body(b"\xff jane.doe@acme.example {", MASK) == b"\xff " + MASK.encode() + b" {"


def test_a_party_is_whoever_wrote_or_got_the_message() -> None:
    def webhook(role: str) -> bytes:
        message = {"recipients": [{"handle": "JANE.doe@acme.example", "role": role}], "text": "hello"}
        return json.dumps({"payload": {"target": {"data": message}}}).encode()

    assert all(JANE.is_party_of([], webhook(role)) for role in ("from", "to", "bcc", "reply-to"))
    assert JANE.is_party_of(["jane.doe@acme.example"], None)
    assert not JANE.is_party_of(["john@acme.example"], b"jane.doe@acme.example", None)


@pytest.mark.parametrize("text", ["", "jane", "@acme.example", "jane@", MASK])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(NotAnAddress):
        SubjectAddress.parse(text)
