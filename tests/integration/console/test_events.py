"""An event is found by each of its ids, and its document shows all that happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.console.rows import BODY, at, insert_archived_event, insert_event, insert_task

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom

CONTRACT = {
    "id", "company_id", "tenant", "type", "state", "cause", "conversation_id", "message_id", "deliveries",
    "recipients", "attachments", "action", "tasks", "timeline",
}  # fmt: skip


@pytest.fixture
def archived_event(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> int:
    return insert_archived_event(conn)


def test_the_document_has_the_keys_others_hold_on_to(mailroom: Mailroom, archived_event: int) -> None:
    document = mailroom.json("event", "show", "evt_1")
    assert document.keys() >= CONTRACT
    assert (document["id"], document["number"], document["tenant"], document["state"]) == (
        "evt_1",
        archived_event,
        "Acme",
        "done",
    )
    assert document["recipients"] == [
        {
            "handle": "Nora@acme.example",
            "role": "to",
            "user": {"id": "17", "name": "Nora Lind"},
            "reason": "to = user 17",
        },
        {"handle": "ap@acme.example", "role": "to", "user": None, "reason": "no user with ap@acme.example"},
    ]
    assert document["action"] == {"kind": "archive", "state": "confirmed", "reason": "the tenant's policy"}
    assert document["attachments"] == [
        {
            "id": "fil_1",
            "number": 1,
            "filename": "\x1b[31m[bold]invoice[/bold]\u202efdp.exe",
            "content_type": "application/pdf",
            "state": "stored",
            "size": 3,
            "sha256": "ab" * 32,
            "path": "1/xy/fil_1",
        }
    ]
    assert [task["attempts"] for task in document["tasks"]] == [1, 2]
    assert [delivery["origin"] for delivery in document["deliveries"]] == ["webhook", "spooled"]
    assert document["deliveries"][0]["id"] == f"{archived_event:032x}"


def test_the_timeline_is_in_order_of_time(mailroom: Mailroom, archived_event: int) -> None:
    moments = mailroom.json("event", "show", "evt_1")["timeline"]
    assert [moment["what"] for moment in moments] == [
        "received", "recorded", "matched", "action planned", "attempt", "attachment stored", "attempt", "received",
        "task_retried", "attempt", "action intent", "action confirmed",
    ]  # fmt: skip
    assert [moment["at"] for moment in moments] == sorted(moment["at"] for moment in moments)
    assert moments[6] | {"task": 0} == {
        "at": at(2).isoformat(),
        "what": "attempt",
        "task": 0,
        "kind": "apply_action",
        "epoch": 1,
        "worker": "worker@host:7",
        "ended_at": at(2.1).isoformat(),
        "outcome": "ready",
        "code": "front_unavailable",
        "detail": "Front answered 503",
        "calls": [{"method": "GET", "path": "/download/fil_1", "status": 200, "ms": 81, "budget_left": 97}],
    }


def test_a_page_fits_its_width_and_lets_nothing_through_to_the_terminal(
    mailroom: Mailroom, archived_event: int
) -> None:
    page = mailroom("event", "show", "evt_1").stdout
    assert max(len(line) for line in page.splitlines()) <= 100
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "[bold]invoice[/bold]" in page
    assert "97 left" in page
    assert "a secret sentence" not in page


def test_an_event_is_found_by_its_number_and_by_its_delivery(mailroom: Mailroom, archived_event: int) -> None:
    for name in (archived_event, f"{archived_event:032x}", "evt_1"):
        assert mailroom.json("event", "show", name)["number"] == archived_event


def test_the_raw_body_is_given_back_byte_for_byte(mailroom: Mailroom, archived_event: int) -> None:
    assert mailroom("event", "show", "evt_1", "--raw").stdout_bytes == BODY


@pytest.mark.parametrize("name", ["evt_none", "99999999", "9" * 40, "0" * 32, "²", "\udcff", "' OR 1=1"])
def test_an_unknown_event_matches_nothing(mailroom: Mailroom, name: str) -> None:
    assert "mailroom event list" in mailroom("event", "show", name, code=3).stderr


def test_one_id_in_two_companies_asks_which(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    insert_event(conn)
    other = insert_event(conn, company="cmp_other", state="parked", cause="unknown_company")
    assert f"{other} (no tenant, cmp_other)" in mailroom("event", "show", "evt_1", code=2).stderr
    assert mailroom.json("event", "show", "evt_1", "--tenant", acme)["tenant"] == "Acme"
    document = mailroom.json("event", "show", "evt_1", "--company", "cmp_other")
    assert (document["tenant"], document["cause"], document["action"]) == (None, "unknown_company", None)
    assert document["timeline"][-1]["what"] == "parked"


def test_work_of_a_paused_tenant_is_shown_as_parked(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    insert_event(conn, state="processing")
    mailroom("tenant", "pause", acme)
    document = mailroom.json("event", "show", "evt_1")
    assert (document["state"], document["cause"]) == ("parked", "paused")
    assert [event["id"] for event in mailroom.json("event", "list", "--state", "parked")] == ["evt_1"]
    assert mailroom.json("event", "list", "--state", "processing") == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["evt_3", "evt_2", "evt_1"]),
        (("--tenant", "Acme"), ["evt_2", "evt_1"]),
        (("--state", "failed"), ["evt_2"]),
        (("--state", "done"), ["evt_1"]),
        (("--code", "front_unavailable"), ["evt_2"]),
        (("--code", "unknown_company"), ["evt_3"]),
        (("--kind", "apply_action", "--tenant", "cmp_acme"), ["evt_2"]),
        (("--since", "2026-03-02"), ["evt_3"]),
        (("--limit", "1"), ["evt_3"]),
        (("--since", "1h"), []),
    ],
)
def test_lists_are_narrowed(
    mailroom: Mailroom, acme: str, conn: psycopg.Connection, options: tuple[str, ...], expected: list[str]
) -> None:
    insert_event(conn)
    insert_task(conn, insert_event(conn, front_id="evt_2", state="failed"))
    unknown = {"state": "parked", "cause": "unknown_company", "received_at": at(90_000)}
    insert_event(conn, front_id="evt_3", company="cmp_new", **unknown)
    assert [event["id"] for event in mailroom.json("event", "list", *options)] == expected
    assert all(name in mailroom("event", "list", *options).stdout for name in expected)


@pytest.mark.parametrize("options", [("--since", "yesterday"), ("--state", "lost"), ("--limit", "0")])
def test_a_wrong_filter_is_a_usage_error(mailroom: Mailroom, options: tuple[str, str]) -> None:
    mailroom("event", "list", *options, code=2)


def test_the_list_is_whole_at_80_columns_also_for_an_event_without_an_id_of_fronts(
    mailroom: Mailroom, acme: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.cli.output.PAGE_WIDTH", 80)
    long_id = "body:" + "a1b2c3d4" * 8
    insert_event(conn, front_id=long_id, state="failed")
    insert_event(conn, front_id="evt_4rk1x0bw", state="processing", type="conversation_archived")
    page = mailroom("event", "list").stdout.splitlines()
    assert page[0].split() == ["received", "(UTC)", "event", "type", "tenant", "state", "cause"]
    assert max(map(len, page)) <= 80
    rows = "\n".join(page[1:])
    assert all(word in rows for word in ("03-01 08:00:00", "evt_4rk1x0bw", "Acme", "failed", "processing"))
    column = slice(page[0].index("event"), page[0].index("type"))
    assert long_id in "".join(line[column].strip() for line in page[1:])
