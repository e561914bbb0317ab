"""Front's own objects are read completely, and with missing or odd fields as far as possible."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.front.objects import (
    Channel,
    Conversation,
    ConversationEvent,
    Identity,
    Teammate,
    parse_channel,
    parse_conversation,
    parse_event,
    parse_identity,
    parse_page,
    parse_teammate,
)

AT = datetime.fromtimestamp(1786443700.063, UTC)


def test_a_complete_identity_is_read(front_answer: Any) -> None:
    assert parse_identity(front_answer("me")) == Identity(company_id="cmp_4k2p9", name="Acme Logistics GmbH")


def test_a_complete_conversation_is_read(front_answer: Any) -> None:
    assert parse_conversation(front_answer("conversation")) == Conversation(
        id="cnv_18r4w2n0",
        status="assigned",
        tag_ids=frozenset({"tag_3vq7zz"}),
        updated_at=datetime.fromtimestamp(1786443600.9, UTC),
    )


def test_a_complete_page_of_events_is_read(front_answer: Any) -> None:
    elements, link = parse_page(front_answer("events_page")) or ([], None)
    assert (link or "").endswith("&page_token=2d018a5809eb90d349bc08c52cb1f4987bef")
    assert [element["id"] for element in elements] == ["evt_4rk9pp1c", "evt_4rk9c7q0", "evt_4rk1x0bw"]
    assert parse_event(elements[0]) == ConversationEvent(
        id="evt_4rk9pp1c", type="archive", source="teammate", target_id=None, emitted_at=AT
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"id": "evt_1", "type": "tag"}, (None, None, None)),
        # source.data is null for changes through the API
        (
            {
                "id": "evt_1",
                "type": "tag",
                "emitted_at": 1786443700.063,
                "source": {"_meta": {"type": "api"}, "data": None},
                "target": {"_meta": {"type": "tag"}, "data": {"id": "tag_1"}},
            },
            ("api", "tag_1", AT),
        ),
        # source.data is a list for inboxes
        ({"id": "evt_1", "type": "tag", "source": {"_meta": [], "data": []}, "target": []}, (None, None, None)),
        ({"id": "evt_1", "type": "tag", "target": {"data": [{"id": "inb_1"}]}}, (None, None, None)),
        ({"id": "evt_1", "type": "tag", "source": "api", "emitted_at": "now"}, (None, None, None)),
    ],
)
def test_an_event_is_read_field_by_field(raw: Any, expected: tuple[Any, ...]) -> None:
    source, target_id, emitted_at = expected
    assert parse_event(raw) == ConversationEvent(
        id="evt_1", type="tag", source=source, target_id=target_id, emitted_at=emitted_at
    )


@pytest.mark.parametrize("raw", [None, [], "x", 3, {}, {"id": 3, "type": [], "status": None, "_results": "no"}])
def test_an_invalid_object_is_none(raw: Any) -> None:
    assert (parse_identity(raw), parse_conversation(raw), parse_event(raw), parse_page(raw)) == (None,) * 4


@pytest.mark.parametrize(
    "company_id", ["tea_1", "cmp_", "cmp_a b", "cmp_\0", "cmp_\ud800", "cmp_é", "cmp_" + "x" * 10_000]
)
def test_an_identity_without_a_company_id_is_none(company_id: str) -> None:
    assert parse_identity({"id": company_id, "name": "Nora"}) is None


def test_only_valid_tag_ids_are_read() -> None:
    found = parse_conversation(
        {"id": "cnv_1", "status": "archived", "tags": [{"id": "tag_1"}, None, {"id": 3}, "tag_2"]}
    )
    assert found is not None
    assert found.tag_ids == {"tag_1"}


@pytest.mark.parametrize("pagination", [None, {}, [], {"next": None}, {"next": ""}, {"next": 3}])
def test_a_list_without_a_link_is_the_last_page(pagination: Any) -> None:
    assert parse_page({"_results": [{"id": "evt_1"}, None, 3], "_pagination": pagination}) == ([{"id": "evt_1"}], None)


NORA = {
    "_links": {"self": "https://acme-logistics.api.frontapp.com/teammates/tea_b7x2c"},
    "id": "tea_b7x2c",
    "email": "nora.lind@acme-logistics.example",
    "username": "nora",
    "first_name": "Nora",
    "last_name": "Lind",
    "is_admin": True,
    "is_available": True,
    "is_blocked": False,
    "type": "user",
    "custom_fields": {},
}
MAILBOX = {
    "_links": {
        "self": "https://acme-logistics.api.frontapp.com/channels/cha_1gv4",
        "related": {
            "inbox": "https://acme-logistics.api.frontapp.com/inboxes/inb_b0qk8",
            "owner": "https://acme-logistics.api.frontapp.com/teams/tim_5a1dk",
        },
    },
    "id": "cha_1gv4",
    "name": "AP mailbox",
    "address": "a1b2c-0f9e8d7c6b5a@in.frontapp.com",
    "type": "smtp",
    "send_as": "ap@acme-logistics.example",
    "settings": {"undo_send_time": 10, "all_teammates_can_reply": False},
    "is_private": False,
    "is_valid": True,
}


def test_a_teammate_is_read() -> None:
    assert parse_teammate(NORA) == Teammate(
        id="tea_b7x2c", email="nora.lind@acme-logistics.example", name="Nora Lind", type="user", is_blocked=False
    )


def test_a_channel_is_read() -> None:
    assert parse_channel(MAILBOX) == Channel(
        id="cha_1gv4", address="ap@acme-logistics.example", inbox_id="inb_b0qk8", is_private=False
    )


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ({"last_name": None}, "Nora"),
        ({"first_name": "", "last_name": None}, "nora"),
        ({"first_name": None, "last_name": None, "username": None}, "nora.lind@acme-logistics.example"),
        ({"first_name": None, "last_name": None, "username": None, "email": None}, "tea_b7x2c"),
        # PostgreSQL cannot store NUL
        ({"first_name": "No\0ra"}, "No\N{REPLACEMENT CHARACTER}ra Lind"),
    ],
)
def test_a_teammate_always_has_a_name(sent: dict[str, Any], name: str) -> None:
    teammate = parse_teammate(NORA | sent)
    assert teammate
    assert teammate.name == name


def test_a_teammate_of_an_old_account_without_a_type_is_a_person() -> None:
    teammate = parse_teammate({key: value for key, value in NORA.items() if key != "type"})
    assert teammate
    assert teammate.type == "user"


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        # The address is a technical one for smtp channels only
        ({"type": "gmail", "address": "ap@acme.example", "send_as": None}, "ap@acme.example"),
        ({"type": "gmail", "address": "ap@acme.example", "send_as": "other@acme.example"}, "ap@acme.example"),
        ({"send_as": None}, "a1b2c-0f9e8d7c6b5a@in.frontapp.com"),
        ({"type": "twilio", "address": None, "send_as": None}, ""),
    ],
)
def test_a_channel_has_its_public_address(sent: dict[str, Any], address: str) -> None:
    channel = parse_channel(MAILBOX | sent)
    assert channel
    assert channel.address == address


def test_a_channel_may_belong_to_no_inbox() -> None:
    channel = parse_channel(MAILBOX | {"_links": {"related": {"inbox": None}}})
    assert channel
    assert channel.inbox_id is None


@pytest.mark.parametrize(("sent", "is_private"), [(True, True), (False, False), (None, False)])
def test_a_channel_is_private_when_front_says_so(sent: bool | None, is_private: bool) -> None:
    channel = parse_channel(MAILBOX | {"is_private": sent})
    assert channel
    assert channel.is_private == is_private


@pytest.mark.parametrize("raw", [None, [], "tea_1", {}, {"id": 7}, {"id": None}])
def test_a_teammate_or_channel_without_an_id_is_none(raw: Any) -> None:
    assert parse_teammate(raw) is None
    assert parse_channel(raw) is None
