"""The HTTP request of one webhook: body, signature and headers as Front makes them, and every fault they can have."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox.models import Company, WebhookEvent
    from sandbox.serializers import Json, Serializer

HOUR_MS = 3_600_000
TOO_LARGE_BYTES = 11 * 1024 * 1024
PREVIEWED = ("source", "target", "conversation")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def webhook_body(serializer: Serializer, webhook_event: WebhookEvent, fault: str | None = None) -> bytes:
    """The raw body of a webhook, with the fault in it."""
    if fault == "underscore_host":
        serializer = replace(serializer, base=underscore_host(serializer.company))
    body = {
        "type": webhook_event.webhook_type,
        "authorization": {"id": serializer.company.id},
        "payload": serializer.event(webhook_event.event),
    }
    if fault in BODY_FAULTS:
        BODY_FAULTS[fault](body)
    raw = compact_json(body)
    return raw[: len(raw) // 2] if fault == "not_json" else raw


def webhook_headers(key: str, body: bytes, now_ms: int, fault: str | None = None) -> dict[str, str]:
    """Front's headers, with a signature over body and timestamp. The signature over a faulty timestamp is valid."""
    timestamp = str(TIMESTAMP_FAULTS[fault](now_ms) if fault in TIMESTAMP_FAULTS else now_ms)
    signature = sign(key, timestamp, body)
    if fault == "bad_signature":
        signature = sign(f"not {key}", timestamp, body)
    headers = {
        "Content-Type": "application/json",
        "X-Front-Request-Timestamp": timestamp,
        "X-Front-Signature": signature,
    }
    if fault == "no_signature":
        del headers["X-Front-Signature"]
    return headers


def sign(key: str, timestamp: str, body: bytes) -> str:
    """Compute `X-Front-Signature` as Front's documentation says."""
    digest = hmac.new(key.encode(), timestamp.encode() + b":" + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def compact_json(value: Any) -> bytes:
    """Write JSON as `JSON.stringify` does: no blanks, UTF-8 unescaped, whole numbers without `.0`."""
    text = json.dumps(_without_zero_fractions(value), ensure_ascii=False, separators=(",", ":"))
    return LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def _without_zero_fractions(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _without_zero_fractions(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_zero_fractions(item) for item in value]
    return value


def underscore_host(company: Company) -> str:
    """A company host with underscores, as links of Front name one."""
    return f"https://{company.domain.removesuffix('.example').replace('-', '_')}.api.frontapp.com"


def event_preview(event: Json, parts: Iterable[str]) -> Json:
    """Reduce these parts of an event to Front's preview of it: the type, the link and the id of each."""
    reduced = {part: _part_preview(part, event[part]) for part in parts if part in event}
    return {**event, **reduced}


def _part_preview(part: str, whole: Json) -> Json:
    if part == "conversation":
        return {"_links": whole["_links"], "id": whole["id"]}
    data = whole["data"]
    first = data[0] if isinstance(data, list) and data else data
    if isinstance(first, str):
        return whole  # conversation ids are no resource with a link
    resource = {"_links": {"self": first["_links"]["self"]}, "id": first["id"]} if first else {}
    return {"_meta": whole["_meta"], **resource}


def _preview(*parts: str) -> Callable[[Json], None]:
    def reduce(body: Json) -> None:
        body["payload"] = event_preview(body["payload"], parts)

    return reduce


def _preview_links_only(body: Json) -> None:
    body["payload"] = event_preview(body["payload"], PREVIEWED)
    for part in PREVIEWED:
        body["payload"].get(part, {}).pop("id", None)


def _emitted_at(write: Callable[[float], str]) -> Callable[[Json], None]:
    def rewrite(body: Json) -> None:
        body["payload"]["emitted_at"] = write(body["payload"]["emitted_at"])

    return rewrite


def _no_emitted_at(body: Json) -> None:
    del body["payload"]["emitted_at"]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sync(body: Json) -> None:
    body["type"] = "sync"
    del body["payload"]


def _without(*names: str) -> Callable[[Json], None]:
    """Make a fault that removes these keys from the message."""

    def remove(body: Json) -> None:
        message = body["payload"].get("target", {}).get("data", {})
        for name in names:
            message.pop(name, None)

    return remove


def _no_target(body: Json) -> None:
    body["payload"].pop("target", None)


def _too_large(body: Json) -> None:
    body["payload"]["conversation"]["subject"] += "x" * TOO_LARGE_BYTES


def _unknown_type(body: Json) -> None:
    body["type"], body["payload"]["type"] = "conversation_teleported", "teleport"


def _unknown_company(body: Json) -> None:
    body["authorization"]["id"] += "nobody"


BODY_FAULTS: dict[str | None, Callable[[Json], Any]] = {
    "no_recipients": _without("recipients"),
    "no_attachments": _without("attachments"),
    "preview": _without("recipients", "attachments", "body", "text", "author", "metadata"),
    "preview_event": _preview(*PREVIEWED),
    "preview_source": _preview("source"),
    "preview_target": _preview("target"),
    "preview_conversation": _preview("conversation"),
    "preview_links_only": _preview_links_only,
    "no_target": _no_target,
    "emitted_at_text": _emitted_at(str),
    "emitted_at_iso": _emitted_at(_iso),
    "emitted_at_unreadable": _emitted_at(lambda _: "last Tuesday"),
    "no_emitted_at": _no_emitted_at,
    "sync_without_challenge": _sync,
    "too_large": _too_large,
    "unknown_type": _unknown_type,
    "unknown_company": _unknown_company,
}
TIMESTAMP_FAULTS: dict[str | None, Callable[[int], int]] = {
    "stale": lambda now: now - HOUR_MS,
    "future": lambda now: now + HOUR_MS,
    "seconds_timestamp": lambda now: now // 1000,
}
