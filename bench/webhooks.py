"""Signed webhooks as bytes on the wire, made ahead so that making them is not measured."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time

PATH = "/webhooks/front"
#: A server that keeps the same bytes twice gains nothing by it; signing each anew would cost the sender half its time.
AHEAD_BYTES = 8 * 2**20
AT_MOST = 2_000


def signed_requests(key: bytes, body_bytes: int) -> list[bytes]:
    """Different requests with bodies of this size, signed now."""
    count = min(AT_MOST, max(1, AHEAD_BYTES // body_bytes))
    return [_request(key, _body(number, body_bytes)) for number in range(count)]


def _body(number: int, size: int) -> bytes:
    """An envelope as Front's, filled up with text that does not repeat itself."""
    payload = {"id": f"evt_bench{number}", "conversation": {"id": f"cnv_{number}"}, "text": ""}
    envelope = {"type": "inbound_received", "authorization": {"id": "cmp_bench"}, "payload": payload}
    missing = size - len(json.dumps(envelope))
    payload["text"] = secrets.token_hex(missing // 2 + 1)[:missing]
    return json.dumps(envelope).encode()


def _request(key: bytes, body: bytes) -> bytes:
    at = str(int(time.time() * 1000))
    digest = hmac.new(key, f"{at}:".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: */*\r\n"
        f"User-Agent: Front\r\nX-Front-Request-Timestamp: {at}\r\n"
        f"X-Front-Signature: {base64.b64encode(digest).decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
