"""Front's signature and the bytes it is made over, as Front and Node produce them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from typing import Any

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def sign(key: str, timestamp: str, body: bytes) -> str:
    """The value of `X-Front-Signature` for these bytes at this time."""
    digest = hmac.new(key.encode(), timestamp.encode() + b":" + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def compact(value: Any) -> bytes:
    """JSON as `JSON.stringify` prints it: no blanks, UTF-8 unescaped, whole numbers without `.0`."""
    text = json.dumps(_whole(value), ensure_ascii=False, separators=(",", ":"))
    return LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value
