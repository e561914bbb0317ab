"""A message's recipients and files are read from webhooks and from answers."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import MalformedEnvelope
from shared.front.envelope import MAX_ATTACHMENTS, MAX_RECIPIENTS, parse_message


def test_empty_lists_are_known_to_be_empty() -> None:
    message = parse_message({"recipients": [], "attachments": []})
    assert (message.recipients, message.attachments) == ((), ())


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        # Recipients of other channels, and of old accounts
        ({"handle": "+41 44 668 18 00", "role": "to"}, [("+41 44 668 18 00", "to")]),
        ({"handle": "ap@acme.example"}, [("ap@acme.example", "unknown")]),
        ({"handle": "ap@acme.example", "role": None}, [("ap@acme.example", "unknown")]),
        # The matcher handles case and spaces
        ({"handle": " Nora@Acme.example ", "role": "cc"}, [(" Nora@Acme.example ", "cc")]),
        # Characters that PostgreSQL cannot store are replaced
        ({"handle": "a\0@acme.example", "role": "t\0o"}, [("a\ufffd@acme.example", "t\ufffdo")]),
        # An entry without a handle is no recipient
        ({"role": "to"}, []),
        ({"handle": "", "role": "to"}, []),
        ({"handle": {"address": "ap@acme.example"}, "role": "to"}, []),
        (None, []),
        ("ap@acme.example", []),
    ],
)
def test_every_entry_with_a_handle_is_a_recipient(raw: object, found: list[tuple[str, str]]) -> None:
    recipients = parse_message({"recipients": [raw]}).recipients
    assert [(r.handle, r.role) for r in recipients or ()] == found


@pytest.mark.parametrize(
    ("raw", "front_id"),
    [
        ({"id": "fil_2m7c1qkw"}, "fil_2m7c1qkw"),
        # Before 2020 only the URL named the file
        ({"url": "https://api2.frontapp.com/download/fil_old"}, "fil_old"),
        ({"id": None, "url": "https://api2.frontapp.com/download/fil_old?sig=a/b"}, "fil_old"),
        # An id that could change a path is not used
        ({"id": "../me", "url": "https://api2.frontapp.com/download/"}, "unnamed:0"),
        ({"url": 7}, "unnamed:0"),
        ({}, "unnamed:0"),
    ],
)
def test_a_file_has_the_id_of_its_field_or_its_url(raw: dict[str, Any], front_id: str) -> None:
    attachments = parse_message({"attachments": [raw]}).attachments
    assert [attachment.front_id for attachment in attachments or ()] == [front_id]


@pytest.mark.parametrize(
    ("size", "declared"),
    [
        (0, 0),
        (184_233, 184_233),
        (2**62 - 1, 2**62 - 1),
        # It does not fit into a bigint, or is no count of bytes
        (2**62, None),
        (-1, None),
        (1.5, None),
        (True, None),
        ("184233", None),
        (None, None),
    ],
)
def test_a_declared_size_is_a_number_of_bytes_or_unknown(size: object, declared: int | None) -> None:
    attachments = parse_message({"attachments": [{"id": "fil_1", "size": size}]}).attachments
    assert attachments is not None
    assert attachments[0].declared_size == declared


@pytest.mark.parametrize(
    ("metadata", "inline"),
    [
        ({"is_inline": True}, True),
        ({"is_inline": False}, False),
        ({"is_inline": "yes"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_a_plain_true_makes_a_file_inline(metadata: object, inline: bool) -> None:
    attachments = parse_message({"attachments": [{"id": "fil_1", "metadata": metadata}]}).attachments
    assert attachments is not None
    assert attachments[0].is_inline is inline


def test_a_file_named_twice_is_stored_once() -> None:
    attachments = parse_message({"attachments": [{"id": "fil_1"}, {"id": "fil_2"}, {"id": "fil_1"}]}).attachments
    assert [attachment.front_id for attachment in attachments or ()] == ["fil_1", "fil_2"]


def test_files_without_an_id_are_kept_apart() -> None:
    attachments = parse_message({"attachments": [{}, {}]}).attachments
    assert [attachment.front_id for attachment in attachments or ()] == ["unnamed:0", "unnamed:1"]


@pytest.mark.parametrize(
    ("part", "most"), [("recipients", MAX_RECIPIENTS), ("attachments", MAX_ATTACHMENTS)], ids=["recipients", "files"]
)
def test_an_overlong_list_is_malformed(part: str, most: int) -> None:
    parse_message({part: [{}] * most})
    with pytest.raises(MalformedEnvelope, match=f"at most {most}"):
        parse_message({part: [{}] * (most + 1)})
