"""A message's whole way to the user: from Front through all processes to the host application of `examples/host`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from bench.harness.processes import expect
from tests.acceptance.conftest import running
from tests.acceptance.host_example import HostExample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.stack import Stack

COMPANY = "cmp_handover"
PEOPLE = {"nora@acme.example": "", "tom@acme.example": ""}  # u-0 and u-1
NORA, TOM = "u-0", "u-1"
WITHIN = 90.0


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A stack with one tenant, which may send to addresses of this machine."""
    with running(ENDPOINT_NETWORKS="127.0.0.0/8") as stack:
        stack.add_tenant("Acme", COMPANY, action="archive", people=PEOPLE)
        yield stack


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostExample]:
    """The host application, not started."""
    host = HostExample(tmp_path)
    yield host
    host.stop()


def send(stack: Stack, subject: str, to: str, **order: Any) -> dict[str, Any]:
    """Have Front send a message, and return the event."""
    recipients = [{"handle": "sender@x.example", "role": "from"}, {"handle": to, "role": "to"}]
    report = stack.front.send("inbound_received", COMPANY, recipients=recipients, subject=subject, **order)
    event: dict[str, Any] = report["events"][0]
    return event


@pytest.mark.timeout(400)
def test_a_message_reaches_its_user_with_its_file_also_after_a_restart(stack: Stack, host: HostExample) -> None:
    secret = stack.mailroom("endpoint", "add", "host", f"{host.url}/mailroom").stdout.strip()
    host.start(secret)
    event = send(stack, "The order", "nora@acme.example", attachments=[{"filename": "order <1>.pdf", "size": 70_000}])
    expect(lambda: "The order" in host.page(NORA), WITHIN, "the host shows the message for its user")
    assert "The order" not in host.page(TOM)
    stack.settle(WITHIN)
    [file] = stack.json("event", "show", event["event_id"])["attachments"]
    expect(lambda: f"/files/{file['sha256']}" in host.page(NORA), WITHIN, "the host has the file")
    assert html.escape("order <1>.pdf") in host.page(NORA)
    content = host.file(file["sha256"])
    assert content is not None
    assert (len(content), hashlib.sha256(content).hexdigest()) == (70_000, file["sha256"])

    host.stop()
    send(stack, "While you were out", "tom@acme.example")
    expect(lambda: tried(stack), WITHIN, "the message was sent to a host that is away")
    host.start(secret)
    stack.rows("UPDATE tasks SET due_at = now() WHERE kind = 'notify' AND state = 'ready' RETURNING id")
    expect(lambda: "While you were out" in host.page(TOM), WITHIN, "the host shows what it missed")
    assert "The order" in host.page(NORA)

    stack.settle(WITHIN)
    stack.mailroom("endpoint", "recover", "host", "--since", "1h", "--yes")
    expect(lambda: sent_twice(stack), WITHIN, "both messages were sent again")
    assert host.page().count("<article>") == 2


@pytest.mark.timeout(60)
def test_a_wrong_signature_is_refused(host: HostExample) -> None:
    secret, other = (f"whsec_{base64.b64encode(key * 32).decode()}" for key in (b"k", b"o"))
    host.start(secret)
    data = {"users": [NORA], "attachments": [], "message": {}}
    body = json.dumps({"type": "message.received", "data": data}).encode()
    good = signed(secret, body)
    refused = [
        signed(other, body),
        signed(secret, body + b" "),
        signed(secret, body, age=timedelta(hours=1)),
        {**good, "webhook-signature": "no signature"},
        {**good, "webhook-id": "msg_2"},
        {},
    ]
    assert [post(host, body, headers) for headers in refused] == [401] * len(refused)
    assert host.page().count("<article>") == 0
    assert [post(host, body, good), post(host, body, good)] == [204, 204]
    assert host.page(NORA).count("<article>") == 1


def signed(secret: str, body: bytes, *, age: timedelta = timedelta()) -> dict[str, str]:
    """Return the headers of a notification, as the package of Standard Webhooks signs it."""
    at = datetime.now(UTC) - age
    signature = Webhook(secret).sign("msg_1", at, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def post(host: HostExample, body: bytes, headers: Any) -> int:
    return requests.post(f"{host.url}/mailroom", data=body, headers=headers, timeout=30).status_code


def tried(stack: Stack) -> bool:
    """Whether an attempt at a notification has failed."""
    return bool(stack.rows("SELECT FROM tasks WHERE kind = 'notify' AND state = 'ready' AND attempts > 0"))


def sent_twice(stack: Stack) -> bool:
    """Whether the host took each of the two messages twice."""
    taken = stack.rows(
        "SELECT count(*) FROM attempts a JOIN tasks t ON t.id = a.task_id"
        " JOIN notifications n ON n.position = t.position"
        " WHERE t.kind = 'notify' AND n.type = 'message.received' AND a.outcome = 'done' GROUP BY t.id"
    )
    return taken == [(2,), (2,)]
