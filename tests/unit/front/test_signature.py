"""Front's signature, checked with its published recipe and with vectors that other code computed."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidSignature, StaleTimestamp
from shared.front.signature import check_freshness, verify

KEY = b"test-app-signing-key-0123456789abcdef"
AT = "1786440071456"
BODY = b'{"type":"inbound_received"}'
NOW = 1_786_440_071.456


def sign(body: bytes, timestamp: str = AT, key: bytes = KEY) -> str:
    mac = hmac.new(key, digestmod=hashlib.sha256)
    mac.update(timestamp.encode() + b":")
    mac.update(body)
    return base64.b64encode(mac.digest()).decode()


@pytest.mark.parametrize(
    ("timestamp", "body", "signature"),
    [
        # Two programs in other languages computed these from the documented algorithm
        (
            "1786440000123",
            '{"type":"sync","authorization":{"id":"cmp_4k2p9"}}',
            "I51JbSMZztnGJjxs2OaxX7qwR2RbEokjzaTWzTPKFJ0=",
        ),
        (
            "1786440071456",
            (
                '{"type":"inbound_received","authorization":{"id":"cmp_4k2p9"},"payload":{"id":"evt_4rk1x0bw",'
                '"target":{"data":{"subject":"Übersicht März – 100 €"}}}}'
            ),
            "XmP7rPlStHnKnSQoPD5GfF7Gzxfg/QMgc8IRPr/kNzY=",
        ),
        # The same data with escapes is another body
        (
            "1786440071456",
            (
                '{"type":"inbound_received","authorization":{"id":"cmp_4k2p9"},"payload":{"id":"evt_4rk1x0bw",'
                '"target":{"data":{"subject":"\\u00dcbersicht M\\u00e4rz \\u2013 100 \\u20ac"}}}}'
            ),
            "lQkIghgR2K2CDMEurYjZZ+dj5T7yvAeYfhouoFkBSbs=",
        ),
        ("1786440000123", "", "qbMc5O+2sA5G6/h6amRkD4KHqiTpCAiDsCjZYENprhQ="),
    ],
    ids=["sync", "UTF-8", "escaped", "empty"],
)
def test_known_signatures_are_valid(timestamp: str, body: str, signature: str) -> None:
    assert verify(body.encode(), timestamp=timestamp, signature=signature, keys=[KEY]) == 0


@given(body=st.binary(), key=st.binary(min_size=1), timestamp=st.text(st.characters(categories=["Nd"]), max_size=20))
def test_every_signature_by_the_recipe_is_valid(body: bytes, key: bytes, timestamp: str) -> None:
    assert verify(body, timestamp=timestamp, signature=sign(body, timestamp, key), keys=[key]) == 0


@given(body=st.binary(), signature=st.text(), timestamp=st.text())
def test_every_other_signature_is_invalid(body: bytes, signature: str, timestamp: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(body, timestamp=timestamp, signature=signature, keys=[KEY, b"another"])


@given(body=st.binary(min_size=1), data=st.data())
def test_one_changed_bit_invalidates_the_signature(body: bytes, data: st.DataObject) -> None:
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(InvalidSignature):
        verify(bytes(changed), timestamp=AT, signature=sign(body), keys=[KEY])


GOOD = sign(BODY)


@pytest.mark.parametrize(
    ("signature", "wrong"),
    [
        ("", "has 0 bytes"),
        (GOOD[:-1], "is not base64"),
        (GOOD[:20], "has 15 bytes"),
        (GOOD + "AAAA", "is not base64"),
        (f" {GOOD}", "is not base64"),
        (GOOD.lower(), "does not fit"),
        (GOOD.replace("=", "é"), "is not base64"),
        ("é" * 44, "is not base64"),
        ("\udcff" * 44, "is not base64"),
        (base64.urlsafe_b64encode(base64.b64decode(sign(b"6"))).decode(), "is not base64"),
        (base64.b64decode(GOOD).hex(), "has 48 bytes"),
        # The last character has two unused bits, so a lenient decoder accepts four spellings
        (GOOD[:-2] + chr(ord(GOOD[-2]) + 1) + "=", "check FRONT_SIGNING_KEYS"),
        (base64.b64encode(hmac.digest(KEY, BODY, "sha1")).decode(), "of SHA-1, as a webhook of a rule"),
    ],
)
def test_a_malformed_signature_is_invalid_and_the_message_says_what_is_wrong(signature: str, wrong: str) -> None:
    with pytest.raises(InvalidSignature, match=wrong):
        verify(BODY, timestamp=AT, signature=signature, keys=[KEY])


@pytest.mark.parametrize("signature", [GOOD + "=", GOOD + "=="])
def test_padding_that_a_lenient_decoder_ignores_is_invalid(signature: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(BODY, timestamp=AT, signature=signature, keys=[KEY])


def test_the_message_never_shows_the_valid_signature() -> None:
    with pytest.raises(InvalidSignature) as refused:
        verify(BODY, timestamp=AT, signature="A" * 44, keys=[KEY])
    assert GOOD not in str(refused.value)


def test_the_result_is_the_position_of_the_key() -> None:
    assert verify(BODY, timestamp=AT, signature=GOOD, keys=[b"newer", KEY]) == 1


def test_without_keys_no_signature_is_valid() -> None:
    with pytest.raises(InvalidSignature):
        verify(BODY, timestamp=AT, signature=GOOD, keys=[])


@pytest.mark.parametrize(
    "timestamp",
    [
        "1786440071456",  # now
        "1786440071",  # seconds, recognised by their size
        "1786439171456",  # 900 s old
        "1786440131456",  # 60 s ahead
        "001786440071456",
    ],
)
def test_timestamps_inside_the_window_are_fresh(timestamp: str) -> None:
    check_freshness(timestamp, now=NOW, window=900)


@pytest.mark.parametrize(
    ("timestamp", "told"),
    [
        ("1786439171455", "900 s old"),
        ("1786439170", "901 s old"),
        ("1786440131457", "60 s ahead"),
        ("0", "s old"),
        ("999999999999999", "s ahead"),
        # Not a timestamp
        ("", "digits"),
        ("-1786440071456", "digits"),
        ("1786440071.456", "digits"),
        ("1786440071456 ", "digits"),
        ("1e12", "digits"),
        ("1_786_440_071", "digits"),
        ("١٧٨٦٤٤٠٠٧١٤٥٦", "digits"),
        ("²", "digits"),
        ("0001786440071456", "digits"),
        ("NaN", "digits"),
    ],
)
def test_timestamps_outside_the_window_are_stale(timestamp: str, told: str) -> None:
    with pytest.raises(StaleTimestamp, match=told):
        check_freshness(timestamp, now=NOW, window=900)


@given(timestamp=st.text())
def test_no_text_raises_anything_but_stale_timestamp(timestamp: str) -> None:
    with pytest.raises(StaleTimestamp):
        check_freshness(timestamp, now=NOW, window=900)
