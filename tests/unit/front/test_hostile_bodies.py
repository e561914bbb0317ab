"""Any bytes are an envelope or malformed, and PostgreSQL can store all texts of an envelope."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import MalformedEnvelope
from shared.front.envelope import API_NAMES, parse_envelope
from shared.models import Envelope
from shared.text import clean

TEXT = st.text(max_size=20) | st.text("\0\ud800\udfff\ufeff\U0001f600a", max_size=8)
NUMBER = st.integers() | st.floats() | st.sampled_from([10**30, 1e308, -1, 2**62, 1_786_440_070_930])
SCALAR = st.none() | st.booleans() | NUMBER | TEXT
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


def anything_or(shape: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return shape | shape | shape | ANYTHING


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw an object with some of the real keys and right or wrong values, or no object at all."""
    return anything_or(st.fixed_dictionaries({}, optional={name: anything_or(shape) for name, shape in fields.items()}))


RECIPIENT = some_of(handle=TEXT, role=TEXT, name=TEXT)
ATTACHMENT = some_of(
    id=TEXT, url=TEXT, filename=TEXT, content_type=TEXT, size=NUMBER, metadata=some_of(is_inline=st.booleans())
)
MESSAGE = some_of(id=TEXT, recipients=st.lists(RECIPIENT, max_size=4), attachments=st.lists(ATTACHMENT, max_size=4))
EVENT = some_of(
    id=TEXT,
    type=TEXT,
    emitted_at=NUMBER,
    conversation=some_of(id=TEXT),
    source=some_of(_meta=some_of(type=TEXT), data=ANYTHING),
    target=some_of(_meta=ANYTHING, data=MESSAGE),
)
TYPE = anything_or(st.sampled_from(sorted(API_NAMES)))
BODY = some_of(type=TYPE, authorization=some_of(id=st.just("cmp_4k2p9")), payload=EVENT)
#: Company and type are valid, so that the tests reach all fields below them.
READABLE = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(API_NAMES)), "authorization": st.just({"id": "cmp_4k2p9"}), "payload": EVENT}
)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def spelled(body: Any) -> bytes:
    """Return JSON; Python writes NaN and Infinity in a form that JSON does not have."""
    return json.dumps(body).replace("NaN", "null").replace("Infinity", "0").encode()


def parse(body: bytes) -> Envelope | None:
    try:
        return parse_envelope(body)
    except MalformedEnvelope:
        return None


@given(st.binary())
def test_no_bytes_raise_anything_but_malformed(body: bytes) -> None:
    assert parse(body) is None


@given(BODY, st.booleans())
def test_no_json_raises_anything_but_malformed(body: Any, escaped: bool) -> None:
    parse(json.dumps(body, ensure_ascii=escaped).encode(errors="surrogatepass"))


def refusing(body: bytes) -> None:
    raise ValueError(body)


@settings(max_examples=300)
@given(READABLE, st.booleans())
def test_orjson_and_json_read_the_same_envelope(body: Any, escaped: bool) -> None:
    raw = json.dumps(body, ensure_ascii=escaped).encode(errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shared.front.envelope.orjson.loads", refusing)
        by_the_standard_library = parse(raw)
    assert parse(raw) == by_the_standard_library


@settings(max_examples=300)
@given(READABLE)
def test_every_text_of_an_envelope_can_be_stored(body: Any) -> None:
    envelope = parse(spelled(body))
    assert envelope is not None
    for text in texts([*envelope, envelope.message and dataclasses.asdict(envelope.message)]):
        assert "\0" not in text
        text.encode()


@given(READABLE)
def test_every_time_of_an_envelope_can_be_shown_in_every_zone(body: Any) -> None:
    envelope = parse(spelled(body))
    if envelope and envelope.emitted_at:
        assert envelope.emitted_at - timedelta(days=1) < envelope.emitted_at + timedelta(days=1)


@given(TEXT, st.integers(0, 10))
def test_a_cleaned_text_can_be_stored_and_is_not_longer(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert "\0" not in cleaned
    assert len(cleaned) <= limit
    assert cleaned.encode().decode() == cleaned


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_storable_text_is_unchanged(text: str) -> None:
    assert clean(text, len(text)) == text


@given(TEXT)
def test_cleaning_is_idempotent(text: str) -> None:
    assert clean(clean(text, 8), 8) == clean(text, 8)
