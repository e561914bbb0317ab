"""The feed as the host application reads it."""

from __future__ import annotations

import json
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from console.feed_watch import FeedWatch, TooManyReaders
from shared.db.core.pool import Pool, open_pool
from shared.db.host import feed, outbox
from shared.settings import Settings
from tests.integration.console.api.client import ApiClient, token_for
from tests.integration.schema.builders import insert_id
from tests.unit.host.builders import checked, webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from flask_openapi3 import OpenAPI

    from tests.integration.console.conftest import Mailroom

DEADLINE = 60.0


@pytest.fixture
def host(application: OpenAPI, mailroom: Mailroom, tenant: int, conn: psycopg.Connection) -> ApiClient:
    """The host application: it reads the messages of every tenant, and nothing was announced yet."""
    conn.execute("DELETE FROM outbox")
    return ApiClient(client=application.test_client(), token=token_for(mailroom, "host", "--scope", "messages"))


@pytest.fixture
def other(conn: psycopg.Connection) -> int:
    return insert_id(conn, "tenants", name="Other", company_id="cmp_other", connected_at="now")


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    opened = open_pool(Settings(database_url=database), size=4, application_name="watch")
    yield opened
    opened.close()


def announce(conn: psycopg.Connection, tenant: int, number: int = 1, **message: Any) -> int:
    """Insert a message for the user with the external id 17, announce it, and return our id of its event."""
    row = conn.execute("SELECT company_id FROM tenants WHERE id = %s", (tenant,)).fetchone()
    assert row
    nora = conn.execute(
        "INSERT INTO users (tenant_id, external_id, name) VALUES (%s, %s, 'Nora')"
        " ON CONFLICT (tenant_id, external_id) DO UPDATE SET name = 'Nora' RETURNING id",
        (tenant, "17" if number % 2 else "18"),
    ).fetchone()
    assert nora
    event = insert_id(
        conn,
        "events",
        company_id=row[0],
        tenant_id=tenant,
        front_id=f"evt_{number}",
        type="inbound_received",
        conversation_id="cnv_1",
        message_id="msg_1",
        received_at="now",
        state="done",
        recipients=json.dumps([["nora@acme.example", "to", nora[0], "to Nora"]]),
    )
    body = zlib.compress(webhook(**message))
    conn.execute(
        "INSERT INTO deliveries (id, event_id, received_at, origin, body)"
        " VALUES (gen_random_uuid(), %s, now(), 'webhook', %s)",
        (event, body),
    )
    conn.execute(
        "INSERT INTO outbox (tenant_id, conversation_id, type, event_id) VALUES (%s, 'cnv_1', 'message.received', %s)",
        (tenant, event),
    )
    return event


def events(page: dict[str, Any]) -> list[str]:
    """Return Front's ids of the events on a page, whose bodies fit their schema."""
    return [checked(json.dumps(each).encode())["data"]["front"]["event_id"] for each in page["messages"]]


def test_the_feed_is_read_from_its_beginning_to_its_end(host: ApiClient, tenant: int, conn: psycopg.Connection) -> None:
    for number in range(5):
        announce(conn, tenant, number)
    first = host("GET", "/messages?limit=2")
    second = host("GET", f"/messages?limit=2&after={first['next']}")
    third = host("GET", f"/messages?limit=2&after={second['next']}")
    assert [events(page) for page in (first, second, third)] == [["evt_0", "evt_1"], ["evt_2", "evt_3"], ["evt_4"]]
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]
    assert first["messages"][1]["position"] == first["next"]
    end = host("GET", f"/messages?after={third['next']}")
    assert (end["messages"], end["next"], end["has_more"]) == ([], third["next"], False)


def test_a_position_of_a_notification_is_a_cursor(host: ApiClient, tenant: int, conn: psycopg.Connection) -> None:
    for number in range(3):
        announce(conn, tenant, number)
    second = host("GET", "/messages")["messages"][1]
    assert events(host("GET", f"/messages?after={second['position']}")) == ["evt_2"]
    assert events(host("GET", "/messages?after=latest")) == []


def test_one_message_is_shown_as_in_the_feed_and_whole(host: ApiClient, tenant: int, conn: psycopg.Connection) -> None:
    announce(conn, tenant, text="x" * 300_000, body="<p>é</p>")
    [found] = host("GET", "/messages")["messages"]
    left_out = {each["field"]: each for each in found["data"]["message"]["omitted"]}
    assert left_out["text"]["reason"] == "too_large"
    whole = host("GET", f"/messages/{found['id']}")
    assert len(whole["data"]["message"]["text"]) == 300_000
    assert whole["position"] == found["position"]
    path = left_out["text"]["url"].partition("/api/v1")[2]
    text, html = host.answer("GET", path), host.answer("GET", f"/messages/{found['id']}/html")
    assert (text.data, text.content_type) == (b"x" * 300_000, "text/plain; charset=utf-8")
    assert (html.data.decode(), html.headers["Content-Security-Policy"]) == (
        "<p>é</p>",
        "default-src 'none'; sandbox",
    )


def test_a_message_that_is_not_there_is_not_found(host: ApiClient, tenant: int, conn: psycopg.Connection) -> None:
    assert host("GET", f"/messages/msg_{'0' * 32}", code=404)["code"] == "unknown_message"
    assert host("GET", "/messages/msg_1", code=422)["code"] == "invalid"
    announce(conn, tenant, text=None)
    [found] = host("GET", "/messages")["messages"]
    assert host("GET", f"/messages/{found['id']}/text", code=404)["code"] == "part_missing"


def test_a_page_ends_before_it_has_too_many_bytes(
    host: ApiClient, tenant: int, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.api.messages.PAGE_BYTES", 10_000)
    for number in range(7):
        announce(conn, tenant, number, text="x" * 6_000)
    read: list[str] = []
    after, pages = "", 0
    while True:
        page = host("GET", f"/messages?{after}")
        read += events(page)
        pages += 1
        if not page["has_more"]:
            break
        after = f"after={page['next']}"
    assert read == [f"evt_{number}" for number in range(7)]
    assert pages == 4


# Filters, and what a token may see


def test_the_feed_can_be_narrowed(
    host: ApiClient, tenant: int, other: int, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_EXAMINED", 3)
    for number in range(10):
        announce(conn, other if number % 5 == 0 else tenant, number)
    conn.execute("INSERT INTO outbox (tenant_id, type, facts) VALUES (%s, 'tenant.paused', '{}')", (tenant,))

    def all_of(query: str) -> list[str]:
        found, after = list[str](), ""
        while True:
            page = host("GET", f"/messages?limit=2&{query}{after}")
            found += [
                each["data"].get("front", each)["event_id" if "front" in each["data"] else "type"]
                for each in page["messages"]
            ]
            if not page["has_more"]:
                return found
            after = f"&after={page['next']}"

    assert all_of("tenant=Other") == ["evt_0", "evt_5"]
    assert all_of("user=17&tenant=cmp_acme") == ["evt_1", "evt_3", "evt_7", "evt_9"]
    assert all_of("type=tenant.paused") == ["tenant.paused"]
    assert all_of("type=message.received, message.sent&user=18") == ["evt_0", "evt_2", "evt_4", "evt_6", "evt_8"]
    assert host("GET", "/messages?type=message.lost", code=422)["code"] == "bad_filter"
    assert host("GET", "/messages?tenant=Nobody", code=422)["code"] == "bad_filter"


def test_a_token_of_one_tenant_reads_only_its_messages(
    application: OpenAPI, host: ApiClient, mailroom: Mailroom, tenant: int, other: int, conn: psycopg.Connection
) -> None:
    token = token_for(mailroom, "of-acme", "--scope", "messages", "--tenant", "Acme")
    of_acme = ApiClient(client=application.test_client(), token=token)
    announce(conn, other, 1)
    announce(conn, tenant, 2)
    foreign, own = host("GET", "/messages")["messages"]
    assert [each["id"] for each in of_acme("GET", "/messages")["messages"]] == [own["id"]]
    for path in ("", "/text", "/html"):
        assert of_acme("GET", f"/messages/{foreign['id']}{path}", code=404)["code"] == "unknown_message"
    assert of_acme("GET", "/messages?tenant=Other", code=422)["code"] == "bad_filter"
    assert of_acme.answer("HEAD", "/messages").headers["Mailroom-Unread"] == "1"


def test_a_token_for_messages_reads_nothing_else(
    application: OpenAPI, host: ApiClient, mailroom: Mailroom, tenant: int
) -> None:
    for path in ("/events", "/tasks", "/status", f"/tenants/{tenant}", f"/tenants/{tenant}/users"):
        assert host("GET", path, code=403)["code"] == "scope_too_small"
    reader = ApiClient(client=application.test_client(), token=token_for(mailroom, "reader", "--scope", "read"))
    assert reader("GET", "/messages", code=403)["code"] == "scope_too_small"


# Cursors that are no longer good


def test_a_cursor_of_before_a_restore_is_told_where_to_start(
    host: ApiClient, tenant: int, conn: psycopg.Connection, pool: Pool
) -> None:
    announce(conn, tenant, 1)
    cursor = host("GET", "/messages")["next"]
    pool.run(outbox.renew_epoch)
    announce(conn, tenant, 2)
    refused = host("GET", f"/messages?after={cursor}", code=410)
    assert refused["code"] == "feed_reset"
    assert events(host("GET", f"/messages?after={refused['start']}")) == ["evt_2"]


def test_a_cursor_beyond_the_end_is_told_where_to_start(host: ApiClient, tenant: int, conn: psycopg.Connection) -> None:
    announce(conn, tenant, 1)
    epoch = host("GET", "/messages")["next"].partition(".")[0]
    refused = host("GET", f"/messages?after={epoch}.{2:012d}", code=410)
    assert refused["code"] == "feed_reset"
    assert events(host("GET", f"/messages?after={refused['start']}")) == ["evt_1"]


def test_a_cursor_before_the_kept_tail_is_told_where_to_start(
    host: ApiClient, tenant: int, conn: psycopg.Connection, pool: Pool
) -> None:
    beginning = host("GET", "/messages")["next"]
    for number in (1, 2):
        announce(conn, tenant, number)
    host("GET", "/messages")
    conn.execute("UPDATE notifications SET at = now() - interval '2 days' WHERE position = 1")
    assert pool.run(lambda conn: outbox.delete_older(conn, days=1, limit=10)) == 1
    refused = host("GET", f"/messages?after={beginning}", code=410)
    assert refused["code"] == "cursor_too_old"
    assert events(host("GET", f"/messages?after={refused['start']}")) == ["evt_2"]
    assert events(host("GET", "/messages")) == ["evt_2"]


@pytest.mark.parametrize("cursor", ["1", "x.y", "f.-1", "%00.1", "f.1%0a"])
def test_a_cursor_of_nobody_is_refused(host: ApiClient, cursor: str) -> None:
    assert host("GET", f"/messages?after={cursor}", code=422)["errors"][0]["code"] == "bad_cursor"


def test_a_quiet_tenants_cursor_goes_on_with_the_feed(
    host: ApiClient, tenant: int, other: int, conn: psycopg.Connection, pool: Pool
) -> None:
    """Else the end of the feed would be cut off behind a reader who asks all the time."""
    announce(conn, tenant, 1)
    page = host("GET", "/messages?tenant=Other")
    assert page["messages"] == []
    conn.execute("UPDATE notifications SET at = now() - interval '2 days'")
    pool.run(lambda conn: outbox.delete_older(conn, days=1, limit=10))
    assert host("GET", f"/messages?tenant=Other&after={page['next']}")["messages"] == []


def test_head_tells_how_far_a_reader_is_behind(host: ApiClient, tenant: int, conn: psycopg.Connection) -> None:
    for number in range(3):
        announce(conn, tenant, number)
    page = host("GET", "/messages?limit=1")
    conn.execute("UPDATE notifications SET at = now() - interval '90 s' WHERE position = 2")
    answer = host.answer("HEAD", f"/messages?after={page['next']}")
    assert (answer.status_code, answer.data, answer.headers["Mailroom-Unread"]) == (200, b"", "2")
    assert 90 <= int(answer.headers["Mailroom-Lag-Seconds"]) < 90 + DEADLINE
    assert host.answer("HEAD", f"/messages?after={answer.headers['Mailroom-Latest']}").headers["Mailroom-Unread"] == "0"


# Waiting


def test_a_reader_that_waits_gets_a_message_when_it_comes(
    host: ApiClient, tenant: int, conn: psycopg.Connection
) -> None:
    after = host("GET", "/messages")["next"]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(host, "GET", f"/messages?after={after}&wait=30")
        time.sleep(0.2)  # it waits by now, or will find the message at once: both must work
        announce(conn, tenant, 1)
        began = time.monotonic()
        assert events(waiting.result(DEADLINE)) == ["evt_1"]
        assert time.monotonic() - began < 25  # it did not wait to the end


def test_a_reader_of_one_user_waits_on_when_others_get_mail(
    host: ApiClient, tenant: int, conn: psycopg.Connection
) -> None:
    after = host("GET", "/messages")["next"]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(host, "GET", f"/messages?after={after}&wait=30&user=17")
        for number in (2, 4, 1):
            announce(conn, tenant, number)
            time.sleep(0.6)
        assert events(waiting.result(DEADLINE)) == ["evt_1"]


def test_a_reader_that_waits_in_vain_gets_an_empty_page(host: ApiClient) -> None:
    after = host("GET", "/messages")["next"]
    page = host("GET", f"/messages?after={after}&wait=1")
    assert (page["messages"], page["next"], page["has_more"]) == ([], after, False)


def wait_in_threads(watch: FeedWatch, stack: ExitStack, readers: list[int]) -> list[Any]:
    """Let these readers wait for the first notification, each in a thread; return once they wait."""
    threads = stack.enter_context(ThreadPoolExecutor(len(readers)))
    waiting = [threads.submit(watch.wait, 0, DEADLINE, reader=reader) for reader in readers]
    deadline = time.monotonic() + DEADLINE
    while watch.waiting < len(readers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return waiting


def test_only_so_many_readers_may_wait_and_of_one_token_fewer(pool: Pool) -> None:
    watch = FeedWatch(pool, most=3, most_of_one=2)
    with ExitStack() as stack:
        waiting = wait_in_threads(watch, stack, [1, 1])
        with pytest.raises(TooManyReaders):
            watch.wait(0, 1, reader=1)
        waiting += wait_in_threads_more(watch, stack, 2)
        with pytest.raises(TooManyReaders):
            watch.wait(0, 1, reader=3)
        watch.close()
        assert [each.result(DEADLINE) for each in waiting] == [False] * 3
    assert watch.waiting == 0


def wait_in_threads_more(watch: FeedWatch, stack: ExitStack, reader: int) -> list[Any]:
    """Let one more reader wait beside those who do."""
    before = watch.waiting
    thread = stack.enter_context(ThreadPoolExecutor(1))
    waiting = thread.submit(watch.wait, 0, DEADLINE, reader=reader)
    deadline = time.monotonic() + DEADLINE
    while watch.waiting == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [waiting]


def test_one_look_serves_all_who_wait(pool: Pool, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    looker = threading.Lock()

    def look(conn: Any) -> int:
        assert looker.acquire(blocking=False), "two look at the same time"
        looks.append(1)
        time.sleep(0.05)
        looker.release()
        return 1 if len(looks) >= 5 else 0

    monkeypatch.setattr("console.feed_watch.number_and_look", look)
    watch = FeedWatch(pool, most=6, most_of_one=6, look_seconds=0.05)
    with ExitStack() as stack:
        waiting = wait_in_threads(watch, stack, [1] * 6)
        assert [each.result(DEADLINE) for each in waiting] == [True] * 6
    assert len(looks) == 5


def test_too_many_who_wait_are_asked_to_come_again(
    application: OpenAPI, host: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application.extensions["mailroom"].feed_watch, "_most", 0)
    after = host("GET", "/messages")["next"]
    answer = host.answer("GET", f"/messages?after={after}&wait=5")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "too_many_readers")
    assert answer.headers["Retry-After"]
    assert host("GET", f"/messages?after={after}")["messages"] == []


def test_the_schema_of_each_type_is_served(
    application: OpenAPI, host: ApiClient, tenant: int, conn: psycopg.Connection
) -> None:
    announce(conn, tenant)
    [found] = host("GET", "/messages")["messages"]
    client = application.test_client()
    schema = client.get(found["schema"].partition("localhost:8081")[2]).get_json()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)
    assert client.get("/api/schemas/message.received/2.json").status_code == 404
    assert client.get("/api/schemas/message.lost/1.json").status_code == 404
