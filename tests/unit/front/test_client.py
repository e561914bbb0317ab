"""The client's requests, and its results and errors, without a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import responses

from shared import errors
from shared.connection.budget import Budget
from shared.front.client import FrontClient, TenantClient
from shared.models import Call
from tests.unit.front.conftest import API, TOKEN

CONVERSATION = f"{API}/conversations/cnv_1"
EVENTS = f"{CONVERSATION}/events"
AT = datetime(2026, 8, 11, 12, tzinfo=UTC)


def _page(*events: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    return {"_pagination": {"next": following}, "_results": list(events)}


def _event(number: int, at: datetime = AT) -> dict[str, Any]:
    return {"id": f"evt_{number}", "type": "archive", "emitted_at": at.timestamp()}


def test_me_names_the_company(client: TenantClient, front: responses.RequestsMock, front_answer: Any) -> None:
    front.get(f"{API}/me", json=front_answer("me"))
    assert client.me().company_id == "cmp_4k2p9"


def test_a_request_carries_the_token_and_asks_for_plain_bytes(
    client: TenantClient, front: responses.RequestsMock, front_answer: Any
) -> None:
    front.get(f"{API}/me", json=front_answer("me"))
    client.me()
    sent = front.calls[0].request.headers
    assert (sent["Authorization"], sent["Accept-Encoding"]) == ("Bearer canary-token", "identity")


def test_calls_are_recorded_without_query_or_token(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(EVENTS, json=_page(), headers={"x-ratelimit-remaining": "77"})
    client.conversation_events("cnv_1", since=AT)
    [call] = client.calls
    assert call == Call(
        method="GET",
        path="/conversations/cnv_1/events",
        status=200,
        milliseconds=call.milliseconds,
        budget_left=77,
    )


def test_a_call_without_an_answer_is_recorded(client: TenantClient, front: responses.RequestsMock) -> None:
    front.patch(CONVERSATION, body=requests.ConnectionError("reset"))
    with pytest.raises(errors.UnclearAnswer):
        client.set_status("cnv_1", "archived")
    assert [(call.method, call.status) for call in client.calls] == [("PATCH", None)]


@pytest.mark.parametrize("status", ["archived", "deleted", "open"])
def test_a_status_is_set_by_one_patch(client: TenantClient, front: responses.RequestsMock, status: Any) -> None:
    patch = front.patch(CONVERSATION, status=204, match=[responses.matchers.json_params_matcher({"status": status})])
    client.set_status("cnv_1", status)
    assert patch.call_count == 1


def test_a_tag_is_added_to_the_existing_ones(client: TenantClient, front: responses.RequestsMock) -> None:
    added = responses.matchers.json_params_matcher({"tag_ids": ["tag_1"]})
    front.post(f"{CONVERSATION}/tags", status=204, match=[added])
    client.add_tag("cnv_1", "tag_1")


@pytest.mark.parametrize("failing", [500, 502, 503, requests.ReadTimeout("slow"), requests.ConnectionError("reset")])
def test_a_write_is_never_sent_twice(client: TenantClient, front: responses.RequestsMock, failing: Any) -> None:
    answer = {"status": failing} if isinstance(failing, int) else {"body": failing}
    patch = front.patch(CONVERSATION, **answer)
    with pytest.raises(errors.UnclearAnswer):
        client.set_status("cnv_1", "archived")
    assert patch.call_count == 1


def test_a_read_is_tried_three_times(client: TenantClient, front: responses.RequestsMock) -> None:
    failing = front.get(CONVERSATION, status=502)
    with pytest.raises(errors.FrontUnavailable):
        client.conversation("cnv_1")
    assert failing.call_count == 3


def test_a_read_succeeds_after_failed_tries(
    client: TenantClient, front: responses.RequestsMock, front_answer: Any
) -> None:
    front.get(CONVERSATION, body=requests.ConnectionError("reset"))
    front.get(CONVERSATION, json=front_answer("conversation"))
    assert client.conversation("cnv_1").status == "assigned"


def test_a_retry_after_ends_the_tries_within_a_call(client: TenantClient, front: responses.RequestsMock) -> None:
    failing = front.get(CONVERSATION, status=503, headers={"retry-after": "20"})
    with pytest.raises(errors.FrontUnavailable) as unavailable:
        client.conversation("cnv_1")
    assert (failing.call_count, unavailable.value.retry_after) == (1, 20)


def test_a_stopping_worker_does_not_wait_for_another_try(budget: Budget, front: responses.RequestsMock) -> None:
    stop = threading.Event()
    stop.set()
    failing = front.get(CONVERSATION, status=502)
    with pytest.raises(errors.ShuttingDown):
        FrontClient(API, budget).for_tenant(TOKEN, stop=stop).conversation("cnv_1")
    assert failing.call_count == 1


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b"[]", b"null", b"", b"\xff", b"[" * 10**5])
def test_an_invalid_body_counts_as_unavailable(
    client: TenantClient, front: responses.RequestsMock, body: bytes
) -> None:
    front.get(CONVERSATION, body=body)
    with pytest.raises(errors.FrontUnavailable):
        client.conversation("cnv_1")


def test_a_429_stops_every_later_call_of_the_company(
    budget: Budget, client: TenantClient, front: responses.RequestsMock
) -> None:
    front.patch(CONVERSATION, status=429, headers={"retry-after": "30"})
    with pytest.raises(errors.BudgetExhausted):
        client.set_status("cnv_1", "archived")
    with pytest.raises(errors.BudgetExhausted) as exhausted:
        FrontClient(API, budget).for_tenant(TOKEN).me()
    assert 28 < exhausted.value.retry_after <= 30


def test_no_call_follows_when_none_remains(client: TenantClient, front: responses.RequestsMock) -> None:
    reset = datetime.now(UTC) + timedelta(seconds=20)
    front.patch(
        CONVERSATION, status=204, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{reset.timestamp()}"}
    )
    client.set_status("cnv_1", "archived")
    with pytest.raises(errors.BudgetExhausted):
        client.set_status("cnv_1", "archived")


@pytest.mark.parametrize(
    "location",
    [
        "https://api2.frontapp.com/conversations/cnv_2",
        "https://acme.api.frontapp.com/conversations/cnv_2",
        "https://api2.frontapp.com/conversations/cnv_2/tags?x=1",
        "/conversations/cnv_2",
    ],
)
def test_a_change_of_a_merged_conversation_raises_the_surviving_id(
    client: TenantClient, front: responses.RequestsMock, location: str
) -> None:
    front.patch(CONVERSATION, status=301, headers={"location": location})
    with pytest.raises(errors.ConversationMoved) as moved:
        client.set_status("cnv_1", "archived")
    assert (moved.value.merged_id, moved.value.surviving_id) == ("cnv_1", "cnv_2")
    assert len(front.calls) == 1


def test_a_merged_conversation_is_read_under_its_surviving_id(
    client: TenantClient, front: responses.RequestsMock, front_answer: Any
) -> None:
    front.get(CONVERSATION, status=301, headers={"location": "/conversations/cnv_18r4w2n0"})
    front.get(f"{API}/conversations/cnv_18r4w2n0", json=front_answer("conversation"))
    assert client.conversation("cnv_1").id == "cnv_18r4w2n0"


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/conversations/cnv_2",
        "http://api2.frontapp.com/conversations/cnv_2",
        "https://api2.frontapp.com@evil.example/conversations/cnv_2",
        "//evil.example/conversations/cnv_2",
        "https://api2.frontapp.com/messages/msg_1",
        "/conversations/alt:email:x",
        "",
    ],
)
def test_a_merge_may_only_lead_to_a_conversation_of_this_api(
    client: TenantClient, front: responses.RequestsMock, location: str
) -> None:
    front.patch(CONVERSATION, status=301, headers={"location": location})
    with pytest.raises(errors.UnsafeRedirect):
        client.set_status("cnv_1", "archived")
    assert len(front.calls) == 1


def test_merges_are_followed_three_times_at_most(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(CONVERSATION, status=301, headers={"location": "/conversations/cnv_2"})
    front.get(f"{API}/conversations/cnv_2", status=301, headers={"location": "/conversations/cnv_1"})
    with pytest.raises(errors.UnsafeRedirect):
        client.conversation("cnv_1")
    assert len(front.calls) == 4


def test_pages_are_requested_from_the_configured_api(client: TenantClient, front: responses.RequestsMock) -> None:
    link = "https://acme.api.frontapp.com/conversations/cnv_1/events?page_token=a%2Bb&limit=100"
    front.get(EVENTS, json=_page(_event(2), following=link), match=[_query({"limit": "100"})])
    front.get(EVENTS, json=_page(_event(1)), match=[_query({"page_token": "a+b", "limit": "100"})])
    assert [event.id for event in client.conversation_events("cnv_1", since=AT)] == ["evt_2", "evt_1"]


def test_a_page_on_another_host_is_not_requested(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(EVENTS, json=_page(_event(1), following="https://evil.example/conversations/cnv_1/events?page_token=a"))
    with pytest.raises(errors.UnsafeRedirect):
        client.conversation_events("cnv_1", since=AT)
    assert len(front.calls) == 1


def test_events_before_since_end_the_pages(client: TenantClient, front: responses.RequestsMock) -> None:
    old = _event(1, AT - timedelta(seconds=1))
    front.get(EVENTS, json=_page(_event(2), old, following=f"{EVENTS}?page_token=a"))
    assert [event.id for event in client.conversation_events("cnv_1", since=AT)] == ["evt_2"]


def test_endless_pages_are_an_error(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(EVENTS, json=_page(_event(1), following=f"{EVENTS}?page_token=a"))
    with pytest.raises(errors.FrontRejected):
        client.conversation_events("cnv_1", since=AT)
    assert len(front.calls) == 20


def test_the_companys_events_are_read_page_by_page(client: TenantClient, front: responses.RequestsMock) -> None:
    asked = {
        "limit": "15",
        "sort_by": "created_at",
        "sort_order": "asc",
        "q[types][]": ["inbound", "out_reply"],
        "q[inboxes][]": ["inb_1", "inb_2"],
        "q[after]": "1786449600.000",
        "q[before]": "1786449660.000",
    }
    front.get(f"{API}/events", json=_page(_event(1), following=f"{API}/events?page_token=a"), match=[_query(asked)])
    front.get(f"{API}/events", json=_page(_event(2)), match=[_query({"page_token": "a"})])
    first = client.events(
        types=["inbound", "out_reply"], after=AT, before=AT + timedelta(minutes=1), inboxes=["inb_1", "inb_2"]
    )
    assert first.next_path == "/events?page_token=a"
    second = client.more_events(first.next_path)
    assert [first.events, second.events, second.next_path] == [(_event(1),), (_event(2),), None]


def test_an_inbox_that_front_does_not_call_shared_is_private(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    inboxes = (
        {"id": "inb_1", "name": "Desk", "is_private": False},
        {"id": "inb_2", "is_private": True},
        {"id": "inb_3"},
    )
    front.get(f"{API}/inboxes", json={"_results": [*inboxes, {"name": "nameless"}]})
    assert [(inbox.id, inbox.name, inbox.is_private) for inbox in client.inboxes()] == [
        ("inb_1", "Desk", False),
        ("inb_2", "inb_2", True),
        ("inb_3", "inb_3", True),
    ]


def test_the_latest_message_of_a_conversation(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(f"{CONVERSATION}/messages", json=_page({"id": "msg_9", "recipients": []}))
    assert client.latest_message("cnv_1").id == "msg_9"


def test_a_conversation_without_a_message_has_no_latest_one(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    front.get(f"{CONVERSATION}/messages", json=_page())
    with pytest.raises(errors.FrontRejected):
        client.latest_message("cnv_1")


def test_a_message_is_read_as_in_a_webhook(client: TenantClient, front: responses.RequestsMock) -> None:
    body = {"id": "msg_1", "recipients": [{"handle": "ap@acme.example", "role": "to"}], "attachments": []}
    front.get(f"{API}/messages/msg_1", json=body)
    message = client.message("msg_1")
    assert [recipient.handle for recipient in message.recipients or ()] == ["ap@acme.example"]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.conversation("../me"),
        lambda client: client.message("alt:uid:1"),
        lambda client: client.set_status("cnv_1?a=b", "archived"),
        lambda client: client.add_tag("cnv_1", "alt:name:x"),
        lambda client: client.download("fil_1/..", max_bytes=1).__enter__(),
    ],
)
def test_an_invalid_id_is_never_sent(client: TenantClient, call: Callable[[TenantClient], object]) -> None:
    with pytest.raises(errors.FrontRejected):
        call(client)
    assert client.calls == []


def test_no_error_shows_the_token_an_id_or_a_body(client: TenantClient, front: responses.RequestsMock) -> None:
    body = json.dumps({"_error": {"title": "Bad request", "message": "nora@acme.example"}})
    for status in (400, 401, 403, 404, 408, 500, 429):
        front.upsert("PATCH", CONVERSATION, status=status, body=body)
        with pytest.raises(errors.MailroomError) as error:
            client.set_status("cnv_1", "archived")
        assert not any(word in str(error.value) for word in ("canary-token", "cnv_1", "nora", API)), status


def _query(expected: dict[str, Any]) -> Any:
    return responses.matchers.query_param_matcher(expected)
