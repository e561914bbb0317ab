"""One webhook as it goes over the wire, and every way it can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.event_bodies import envelope, event_body
from sandbox.signing import compact, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.models import WebhookEvent
    from sandbox.serializers import Bodies, Json

HOUR_MS = 3_600_000
TOO_LARGE = 11 * 1024 * 1024


def webhook_body(bodies: Bodies, webhook_event: WebhookEvent, fault: str | None = None) -> bytes:
    """The raw body, spoilt as the fault says."""
    body = envelope(webhook_event.webhook_type, bodies.company.id, event_body(bodies, webhook_event.event))
    if fault in SPOIL:
        SPOIL[fault](body)
    raw = compact(body)
    return raw[: len(raw) // 2] if fault == "not_json" else raw


def headers(key: str, body: bytes, now_ms: int, fault: str | None = None) -> dict[str, str]:
    """Front's headers, signed now; a faulty time is signed as it is."""
    timestamp = str(TIME[fault](now_ms) if fault in TIME else now_ms)
    signature = sign(key, timestamp, body)
    if fault == "bad_signature":
        signature = sign(f"not {key}", timestamp, body)
    named = {
        "Content-Type": "application/json",
        "X-Front-Request-Timestamp": timestamp,
        "X-Front-Signature": signature,
    }
    if fault == "no_signature":
        del named["X-Front-Signature"]
    return named


def _without(*names: str) -> Callable[[Json], None]:
    def spoil(body: Json) -> None:
        message = body["payload"].get("target", {}).get("data", {})
        for name in names:
            message.pop(name, None)

    return spoil


def _no_target(body: Json) -> None:
    body["payload"].pop("target", None)


def _too_large(body: Json) -> None:
    body["payload"]["conversation"]["subject"] += "x" * TOO_LARGE


def _unknown_type(body: Json) -> None:
    body["type"], body["payload"]["type"] = "conversation_teleported", "teleport"


def _unknown_company(body: Json) -> None:
    body["authorization"]["id"] += "nobody"


SPOIL: dict[str | None, Callable[[Json], Any]] = {
    "no_recipients": _without("recipients"),
    "no_attachments": _without("attachments"),
    "preview": _without("recipients", "attachments", "body", "text", "author", "metadata"),
    "no_target": _no_target,
    "too_large": _too_large,
    "unknown_type": _unknown_type,
    "unknown_company": _unknown_company,
}
TIME: dict[str | None, Callable[[int], int]] = {
    "stale": lambda now: now - HOUR_MS,
    "future": lambda now: now + HOUR_MS,
    "seconds_timestamp": lambda now: now // 1000,
}
