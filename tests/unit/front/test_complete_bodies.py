"""Complete bodies as Front sends them, one per type; other tests have only the fields they need."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.front.envelope import is_known, parse_envelope
from shared.models import Attachment, Envelope, Message, Recipient

ROOT = Path(__file__).parents[3]
PAYLOADS = ROOT / "tests" / "payloads"
#: Further bodies, if they are beside the checkout.
EXAMPLES = ROOT.parent / "shared" / "front" / "examples"
BODIES = [*sorted(PAYLOADS.glob("*.json")), *sorted(EXAMPLES.glob("webhook_*.json"))]


def read(name: str) -> Envelope:
    return parse_envelope((PAYLOADS / f"{name}.json").read_bytes())


def test_an_inbound_message() -> None:
    assert read("inbound_received") == Envelope(
        type="inbound_received",
        company_id="cmp_7d3fa",
        front_id="evt_6t0c2x9e",
        conversation_id="cnv_2bq7h1m4",
        source="inboxes",
        inbox_ids=("inb_d93kq",),
        emitted_at=datetime(2026, 9, 10, 6, 30, 0, 190_000, tzinfo=UTC),
        message=Message(
            id="msg_2f8k0aa1",
            recipients=(
                Recipient(handle="Ines.Prado@ferry-cafe.example", role="from"),
                Recipient(handle="workshop@harbour-joinery.example", role="to"),
                Recipient(handle="Maya@Harbour-Joinery.example", role="cc"),
                Recipient(handle="maya@harbour-joinery.example", role="cc"),
                Recipient(handle="bygg@kafé-design.example", role="cc"),
                Recipient(handle="bounce+77ae@ferry-cafe.example", role="reply-to"),
            ),
            attachments=(
                Attachment(
                    front_id="fil_4h8s1a",
                    filename="Quay 4 – Grundriß.pdf",
                    content_type="application/pdf",
                    declared_size=902_114,
                    is_inline=False,
                ),
                Attachment(
                    front_id="fil_4h8s1b",
                    filename="plan.png",
                    content_type="image/png",
                    declared_size=38_112,
                    is_inline=True,
                ),
            ),
        ),
    )


def test_an_outbound_message() -> None:
    assert read("outbound_sent") == Envelope(
        type="outbound_sent",
        company_id="cmp_7d3fa",
        front_id="evt_6t0d81aa",
        conversation_id="cnv_2bq7h1m4",
        source="inboxes",
        inbox_ids=("inb_d93kq",),
        emitted_at=datetime(2026, 9, 10, 7, 30, tzinfo=UTC),
        message=Message(
            id="msg_2f8k77c0",
            recipients=(
                Recipient(handle="workshop@harbour-joinery.example", role="from"),
                Recipient(handle="Ines.Prado@ferry-cafe.example", role="to"),
                Recipient(handle="tom@harbour-joinery.example", role="bcc"),
            ),
            attachments=(
                Attachment(
                    front_id="fil_4h9c00",
                    filename="Quote 118.pdf",
                    content_type="application/pdf",
                    declared_size=51_200,
                    is_inline=False,
                ),
            ),
        ),
    )


def test_an_archive_by_an_app_has_no_target() -> None:
    assert read("conversation_archived") == Envelope(
        type="conversation_archived",
        company_id="cmp_7d3fa",
        front_id="evt_6t0dzz10",
        conversation_id="cnv_2bq7h1m4",
        source="oauth_client",
        emitted_at=datetime(2026, 9, 10, 8, 30, 0, 7_000, tzinfo=UTC),
        message=None,
    )


def test_a_tag_as_the_target_is_no_message() -> None:
    assert read("tag_added") == Envelope(
        type="tag_added",
        company_id="cmp_7d3fa",
        front_id="evt_6t0c9k2b",
        conversation_id="cnv_2bq7h1m4",
        source="teammate",
        emitted_at=datetime(2026, 9, 10, 6, 40, 0, 750_000, tzinfo=UTC),
        message=None,
    )


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_every_body_names_its_company_event_and_conversation(path: Path) -> None:
    body = json.loads(path.read_bytes())
    event = body.get("payload", {})
    envelope = parse_envelope(path.read_bytes())
    assert (envelope.type, envelope.company_id, envelope.front_id, envelope.conversation_id) == (
        body["type"],
        body["authorization"]["id"],
        event.get("id"),
        event.get("conversation", {}).get("id"),
    )


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_only_the_validation_request_is_unknown(path: Path) -> None:
    assert is_known(parse_envelope(path.read_bytes()).type) is (path.stem != "webhook_sync")
