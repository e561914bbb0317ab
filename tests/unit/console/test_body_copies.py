"""Copies of a stored webhook: a command that the door takes, and an order that the sandbox takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.body_copies import curl_command, sandbox_order
from sandbox.send_request import read_send_request
from shared.db.reading.events import AttachmentView, RecipientView
from shared.errors import MalformedEnvelope
from shared.front.signature import verify
from tests.unit.console.test_why_nothing import event

PAYLOAD = Path(__file__).parents[2] / "payloads" / "inbound_received.json"
KEY = b"the signing key"
BODIES = {
    "plain": b'{"type":"inbound_received"}',
    "quotes": b'{"a":"it\'s $HOME `id` \\\\ !x"}',
    "beyond ASCII": '{"a":"Übersicht \u202e €"}'.encode(),
    "no text": b"\x00\xff\n'",
    "an option": b"@/etc/passwd",
    "long": b'{"a":"' + b"x" * 200_000 + b'"}',
}


def sent(command: str, folder: Path) -> tuple[list[str], bytes]:
    """Run the command with another `curl`, and return its arguments and the body that it sends."""
    fake = folder / "curl"
    fake.write_text(
        '#!/bin/sh\nfor each; do printf "%s\\0" "$each"; done > "$OUT/arguments"\n'
        'case "$*" in *--data-binary*) cat > "$OUT/body";; esac\n',
        encoding="utf-8",
    )
    fake.chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "OUT": str(folder), "HOME": "/nowhere"}
    subprocess.run(["sh"], input=command.encode(), env=environment, check=True, timeout=60)
    arguments = (folder / "arguments").read_bytes().decode().split("\0")[:-1]
    if "--data-raw" in arguments:
        return arguments, arguments[arguments.index("--data-raw") + 1].encode()
    return arguments, (folder / "body").read_bytes()


@pytest.mark.skipif(shutil.which("base64") is None, reason="no base64 here")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_command_sends_the_same_bytes_with_a_signature_that_the_door_takes(body: bytes, tmp_path: Path) -> None:
    command = curl_command(body, url="http://127.0.0.1:8080/webhooks/front", key=KEY, milliseconds=1_772_352_000_123)
    arguments, received = sent(command, tmp_path)
    headers = dict(each.split(": ", 1) for each in arguments if ": " in each and each[0] == "X")
    assert received == body
    assert arguments[-1] == "http://127.0.0.1:8080/webhooks/front"
    timestamp, signature = headers["X-Front-Request-Timestamp"], headers["X-Front-Signature"]
    assert verify(received, timestamp=timestamp, signature=signature, keys=[KEY]) == 0
    assert (timestamp, KEY.decode() in command) == ("1772352000123", False)
    assert command.isascii()


def order_of(payload: dict[str, Any], **parts: Any) -> dict[str, Any]:
    order = sandbox_order(json.dumps(payload).encode(), event(**parts))
    read_send_request({**order, "company": "cmp_1"})  # the sandbox takes it
    return order


def test_the_sandbox_takes_the_order_and_it_has_no_real_address() -> None:
    payload = json.loads(PAYLOAD.read_text(encoding="utf-8"))
    order = order_of(payload)
    text = json.dumps(order)
    found = set(re.findall(r"[\w.+-]+@[\w.-]+", text))
    assert order["type"] == "inbound_received"
    assert found
    assert {address.partition("@")[2] for address in found} == {"example.com"}
    assert "company" not in order
    assert not set(re.findall(r"(?:evt|cnv|msg|fil|cmp)_\w+", text))


def test_one_address_in_any_spelling_is_one_example() -> None:
    payload = {
        "type": "inbound_received",
        "authorization": {"id": "cmp_1"},
        "payload": {
            "conversation": {"subject": "for Nora.Lind@acme.test and <AP@acme.test>"},
            "target": {
                "data": {
                    "recipients": [
                        {"handle": "nora.lind@ACME.test", "role": "to"},
                        {"handle": "ap@acme.test", "role": "cc"},
                        {"handle": "+49 30 1", "role": "to"},
                        {"handle": "x@acme.test", "role": "unknown"},
                    ],
                    "attachments": [{"id": "fil_1", "filename": "from nora.lind@acme.test.pdf", "size": 7}],
                }
            },
        },
    }
    order = order_of(payload)
    assert order["subject"] == "for person1@example.com and <person2@example.com>"
    assert [each["handle"] for each in order["recipients"]] == ["person1@example.com", "person2@example.com", "person3"]
    assert order["attachments"][0]["size"] == 7
    assert "acme.test" not in json.dumps(order)


def test_what_the_body_left_out_is_taken_from_the_rows_and_left_out_again() -> None:
    payload = {"type": "inbound_received", "authorization": {"id": "cmp_1"}, "payload": {"target": {"data": {}}}}
    recipient = RecipientView(handle="a@b.test", role="to", reason="", user_id=None, user_name=None)
    file = AttachmentView(
        id="fil_1",
        number=1,
        filename="a.pdf",
        content_type="application/pdf",
        state="stored",
        size=5,
        sha256="",
        path="",
        stored_at=None,
    )
    fetched = replace(event(), recipients=[recipient], attachments=[file])
    order = sandbox_order(json.dumps(payload).encode(), fetched)
    assert order["recipients"] == [{"handle": "person1@example.com", "role": "to"}]
    assert (order["attachments"][0]["size"], order["fault"]) == (5, "preview")


def test_a_body_that_cannot_be_read_makes_no_order() -> None:
    with pytest.raises(MalformedEnvelope):
        sandbox_order(b"not JSON", event())
