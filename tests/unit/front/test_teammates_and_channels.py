"""Teammates and channels as Front lists them, and as it might."""

from __future__ import annotations

from typing import Any

import pytest

from shared.front.objects import Channel, Teammate, parse_channel, parse_teammate

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
        # What PostgreSQL cannot hold
        ({"first_name": "No\0ra"}, "No\N{REPLACEMENT CHARACTER}ra Lind"),
    ],
)
def test_a_teammate_has_a_name_whatever_is_missing(sent: dict[str, Any], name: str) -> None:
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
        # Only behind an smtp channel is the address a technical one
        ({"type": "gmail", "address": "ap@acme.example", "send_as": None}, "ap@acme.example"),
        ({"type": "gmail", "address": "ap@acme.example", "send_as": "other@acme.example"}, "ap@acme.example"),
        ({"send_as": None}, "a1b2c-0f9e8d7c6b5a@in.frontapp.com"),
        ({"type": "twilio", "address": None, "send_as": None}, ""),
    ],
)
def test_the_public_address_of_a_channel(sent: dict[str, Any], address: str) -> None:
    channel = parse_channel(MAILBOX | sent)
    assert channel
    assert channel.address == address


def test_a_channel_may_belong_to_no_inbox() -> None:
    channel = parse_channel(MAILBOX | {"_links": {"related": {"inbox": None}}})
    assert channel
    assert channel.inbox_id is None


@pytest.mark.parametrize(("sent", "is_private"), [(True, True), (False, False), (None, False)])
def test_a_channel_is_private_where_front_says_so(sent: bool | None, is_private: bool) -> None:
    channel = parse_channel(MAILBOX | {"is_private": sent})
    assert channel
    assert channel.is_private == is_private


@pytest.mark.parametrize("raw", [None, [], "tea_1", {}, {"id": 7}, {"id": None}])
def test_what_has_no_id_is_nothing(raw: Any) -> None:
    assert parse_teammate(raw) is None
    assert parse_channel(raw) is None
