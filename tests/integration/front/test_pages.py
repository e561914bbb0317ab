"""Lists of several pages are read to the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.server import RunningSandbox
from shared.front.client import TenantClient
from tests.integration.front.conftest import control


def _receive(sandbox: RunningSandbox, count: int) -> None:
    order = {"type": "inbound_received", "company": "cmp_1", "conversation": "cnv_1", "count": count, "deliver": False}
    control(sandbox, "send", order)


def every_event(client: TenantClient, **wanted: Any) -> list[dict[str, Any]]:
    page = client.events(**wanted)
    found = [*page.events]
    while page.next_path:
        page = client.more_events(page.next_path)
        found += page.events
    return found


def test_the_companys_events_are_read_to_the_end_and_in_order(sandbox: RunningSandbox, client: TenantClient) -> None:
    _receive(sandbox, 39)
    now = datetime.now(UTC)
    found = every_event(client, types=["inbound"], after=now - timedelta(hours=1), before=now + timedelta(minutes=1))
    times = [event["emitted_at"] for event in found]
    assert len({event["id"] for event in found}) == 40
    assert times == sorted(times)
    assert len(client.calls) == 3


def test_a_conversations_events_are_read_to_the_end_and_newest_first(
    sandbox: RunningSandbox, client: TenantClient
) -> None:
    _receive(sandbox, 119)
    found = client.conversation_events("cnv_1", since=datetime.now(UTC) - timedelta(hours=1))
    times = [event.emitted_at for event in found if event.emitted_at]
    assert len({event.id for event in found}) == 120
    assert times == sorted(times, reverse=True)
    assert len(client.calls) == 2


def test_a_page_links_query_with_filters_survives(sandbox: RunningSandbox, client: TenantClient) -> None:
    _receive(sandbox, 19)
    client.set_status("cnv_1", "archived")
    now = datetime.now(UTC)
    window = {"after": now - timedelta(hours=1), "before": now + timedelta(minutes=1)}
    assert {event["type"] for event in every_event(client, types=["inbound"], **window)} == {"inbound"}
    assert [event["type"] for event in every_event(client, types=["archive"], **window)] == ["archive"]
