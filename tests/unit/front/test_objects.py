"""Front's own answers, complete, and what is left of them when parts are missing or strange."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.front.objects import (
    Conversation,
    ConversationEvent,
    Identity,
    parse_conversation,
    parse_event,
    parse_identity,
    parse_page,
)

AT = datetime.fromtimestamp(1786443700.063, UTC)


def test_a_complete_identity(front_answer: Any) -> None:
    assert parse_identity(front_answer("me")) == Identity(company_id="cmp_4k2p9", name="Acme Logistics GmbH")


def test_a_complete_conversation(front_answer: Any) -> None:
    assert parse_conversation(front_answer("conversation")) == Conversation(
        id="cnv_18r4w2n0",
        status="assigned",
        tag_ids=frozenset({"tag_3vq7zz"}),
        updated_at=datetime.fromtimestamp(1786443600.9, UTC),
    )


def test_a_complete_page_of_events(front_answer: Any) -> None:
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
        # source.data is null for what the API did
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
        # … and a list for inboxes
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
def test_what_is_not_fronts_is_nothing(raw: Any) -> None:
    assert (parse_identity(raw), parse_conversation(raw), parse_event(raw), parse_page(raw)) == (None,) * 4


@pytest.mark.parametrize(
    "company_id", ["tea_1", "cmp_", "cmp_a b", "cmp_\0", "cmp_\ud800", "cmp_é", "cmp_" + "x" * 10_000]
)
def test_an_identity_that_is_no_companys_is_nothing(company_id: str) -> None:
    assert parse_identity({"id": company_id, "name": "Nora"}) is None


def test_tags_of_any_shape_leave_the_ids_that_are_some() -> None:
    found = parse_conversation(
        {"id": "cnv_1", "status": "archived", "tags": [{"id": "tag_1"}, None, {"id": 3}, "tag_2"]}
    )
    assert found is not None
    assert found.tag_ids == {"tag_1"}


@pytest.mark.parametrize("pagination", [None, {}, [], {"next": None}, {"next": ""}, {"next": 3}])
def test_a_list_without_a_link_is_the_last_page(pagination: Any) -> None:
    assert parse_page({"_results": [{"id": "evt_1"}, None, 3], "_pagination": pagination}) == ([{"id": "evt_1"}], None)
