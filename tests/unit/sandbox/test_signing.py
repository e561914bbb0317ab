"""The sandbox signs as Front's documentation says, not as our door happens to check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.webhooks import compact_json, sign

KEY = "test-app-signing-key-0123456789abcdef"
VECTORS = [
    # timestamp, raw body, signature: worked out by hand from the documented recipe
    (
        "1786440000123",
        '{"type":"sync","authorization":{"id":"cmp_4k2p9"}}',
        "I51JbSMZztnGJjxs2OaxX7qwR2RbEokjzaTWzTPKFJ0=",
    ),
    # Text beyond ASCII goes out unescaped
    (
        "1786440071456",
        (
            '{"type":"inbound_received","authorization":{"id":"cmp_4k2p9"},"payload":{"id":"evt_4rk1x0bw",'
            '"target":{"data":{"subject":"Übersicht März – 100 €"}}}}'
        ),
        "XmP7rPlStHnKnSQoPD5GfF7Gzxfg/QMgc8IRPr/kNzY=",
    ),
    ("1786440000123", "", "qbMc5O+2sA5G6/h6amRkD4KHqiTpCAiDsCjZYENprhQ="),
]
SHARED = Path(__file__).parents[4] / "shared/front/examples/signature_vectors.json"


@pytest.mark.parametrize(("timestamp", "body", "signature"), VECTORS)
def test_the_signature_is_the_documented_one(timestamp: str, body: str, signature: str) -> None:
    assert sign(KEY, timestamp, body.encode()) == signature


@pytest.mark.skipif(not SHARED.exists(), reason="the reference vectors are not on this machine")
def test_every_reference_vector_agrees() -> None:
    reference = json.loads(SHARED.read_text(encoding="utf-8"))["application_webhook"]
    for vector in reference["vectors"]:
        body = vector["raw_body"].encode()
        assert sign(reference["key"], vector["timestamp"], body) == vector["x-front-signature"]


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        # No blanks, no escapes
        ({"a": [1, "ä€"]}, '{"a":[1,"ä€"]}'),
        # A whole number has no fraction in Node, however it came about
        ({"emitted_at": 1786440070.0}, '{"emitted_at":1786440070}'),
        ({"emitted_at": 1786440070.93}, '{"emitted_at":1786440070.93}'),
        # What is no character is escaped; UTF-8 could not hold it
        ({"name": "\ud800.txt"}, '{"name":"\\ud800.txt"}'),
        ({"name": "a\x00b", "none": None}, '{"name":"a\\u0000b","none":null}'),
    ],
)
def test_json_is_printed_as_node_prints_it(value: object, printed: str) -> None:
    assert compact_json(value) == printed.encode()
