"""The messages of captured webhooks make bodies that fit the schema. They lie beside the project, where they may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.front.envelope import MESSAGE_TYPES, parse_listed_event
from shared.host.body import MAX_BYTES, build
from tests.unit.host.builders import LINKS, checked, event, notification, recipient

CAPTURED = Path(__file__).parents[4] / "shared" / "front" / "captured"
if not CAPTURED.is_dir():
    pytest.skip("the captured bodies do not lie beside the project", allow_module_level=True)


def _webhooks() -> dict[str, bytes]:
    """Return each captured body as a webhook."""
    found = {}
    for path in sorted(CAPTURED.glob("*.json")):
        raw = json.loads(path.read_bytes())
        listed = parse_listed_event(raw, "cmp_1") if isinstance(raw, dict) and "payload" not in raw else None
        found[path.stem] = listed.body if listed else path.read_bytes()
    return found


WEBHOOKS = _webhooks()


@pytest.mark.parametrize("name", WEBHOOKS)
@pytest.mark.parametrize("include", ["text", "html", "none"])
def test_a_captured_body_makes_a_valid_notification(name: str, include: Any) -> None:
    facts = notification(event=event(body=WEBHOOKS[name], recipients=[recipient("nora@acme.example", user="17")]))
    built = build(facts, links=LINKS, include=include)
    checked(built)
    assert len(built) <= MAX_BYTES


def test_the_text_of_a_captured_message_arrives_whole() -> None:
    messages = 0
    for body in WEBHOOKS.values():
        payload = json.loads(body).get("payload", {})
        data = (payload.get("target") or {}).get("data") if isinstance(payload.get("target"), dict) else None
        if isinstance(data, dict) and data.get("text") and payload.get("type") in {"inbound", "outbound", "out_reply"}:
            message = checked(build(notification(event=event(body=body)), links=LINKS, include="html"))["data"][
                "message"
            ]
            assert (message["text"], message["html"]) == (data["text"], data["body"])
            messages += 1
    assert messages > 5
    assert {"inbound_received", "outbound_sent"} == MESSAGE_TYPES
