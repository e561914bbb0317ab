"""The page about the hand-over says what is sent, and its receiver receives it."""

from __future__ import annotations

import io
import re
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from shared.host.body import build
from shared.host.notification import TYPES
from shared.host.signature import encode_secret, signed_headers
from tests.documents import marked
from tests.unit.host.builders import LINKS, checked, event, file, notification
from workers.notifying.decisions import SCHEDULE

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "host.md").read_text(encoding="utf-8")
SECRET, OTHER = encode_secret(b"k" * 32), encode_secret(b"o" * 32)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application on the page, as a client sees it."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    code = marked("docs/host.md")["receiver"]
    assert len([line for line in code.splitlines() if line]) <= 15
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(code, "docs/host.md", "exec"), names)
    return names["app"].test_client()


def post(receiver: Any, body: bytes, secret: str) -> tuple[int, str]:
    """Return the status of the answer, and what the receiver printed."""
    headers = dict(signed_headers("msg_1", int(time.time()), body, [secret]))
    with redirect_stdout(io.StringIO()) as printed:
        status = receiver.post("/mailroom", data=body, headers=headers).status_code
    return status, printed.getvalue()


def test_the_receiver_sees_user_subject_and_file(receiver: Any) -> None:
    body = build(notification(event=event(files=[file()])), links=LINKS)
    status, printed = post(receiver, body, SECRET)
    assert status == 204
    assert printed.startswith("['17'] Staircase for Quay 4 ['https://mail.acme.example/api/v1/attachments/1/content?")


def test_the_receiver_refuses_another_signature(receiver: Any) -> None:
    assert post(receiver, build(notification(), links=LINKS), OTHER) == (401, "")


def test_the_receiver_takes_every_type(receiver: Any) -> None:
    bodies = [build(notification(each, event=None, facts={}), links=LINKS) for each in ("ping", "tenant.connected")]
    assert [post(receiver, body, SECRET) for body in bodies] == [(204, "")] * 2


def test_the_page_names_every_type() -> None:
    table = PAGE.partition("## Types")[2].partition("## The body")[0]
    assert tuple(re.findall(r"^\| `([a-z_.]+)`", table, re.MULTILINE)) == TYPES


def test_the_body_on_the_page_fits_the_schema_and_has_what_is_sent() -> None:
    example = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert example
    shown = checked(example[1].encode())
    sent = checked(build(notification(event=event(files=[file()])), links=LINKS))
    assert set(shown["data"]["message"]) == set(sent["data"]["message"])
    assert set(shown["data"]["attachments"][0]) == set(sent["data"]["attachments"][0])
    assert set(shown) == set(sent)
    assert set(shown["data"]) == set(sent["data"])


def test_the_page_has_the_schedule() -> None:
    units = {"s": 1, "min": 60, "h": 3_600}
    [row] = re.findall(r"tries again after (.*?), never", PAGE)
    assert tuple(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", row)) == SCHEDULE
