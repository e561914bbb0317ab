"""A request adds many users: all or none, or only the valid ones. The answer reports the outcome of each."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from shared.db.users.users import lock
from tests.integration.console.api.client import wait_until_blocked

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.api.client import ApiClient


def item(external_id: str, *addresses: str, **more: Any) -> dict[str, Any]:
    return {"external_id": external_id, "name": "N", "addresses": list(addresses), **more}


def counts(added: int = 0, changed: int = 0, unchanged: int = 0, deactivated: int = 0) -> dict[str, Any]:
    kinds = {"added": added, "changed": changed, "unchanged": unchanged, "deactivated": deactivated}
    return {**kinds, "moved": [], "errors": []}


def addresses(api: ApiClient, users: str) -> dict[str, list[str]]:
    return {user["external_id"]: user["addresses"] for user in api("GET", users)["users"]}


NORA, JO = item("1", "nora@acme.example"), item("2", "jo@acme.example")


def test_sending_it_again_changes_nothing(api: ApiClient, users: str) -> None:
    bulk = f"{users}/bulk"
    assert api("POST", bulk, {"users": [NORA, JO]}) == counts(added=2)
    assert api("POST", bulk, {"users": [NORA, JO]}) == counts(unchanged=2)
    assert api("POST", bulk, {"users": [NORA | {"active": False}, JO]}) == counts(changed=1, unchanged=1)


def test_a_swap_is_reported_as_two_moves(api: ApiClient, users: str) -> None:
    api("POST", f"{users}/bulk", {"users": [NORA, JO]})
    swapped = [item("1", "jo@acme.example"), item("2", "nora@acme.example")]
    assert api("POST", f"{users}/bulk", {"users": swapped}) == counts(changed=2) | {
        "moved": [
            {"address": "jo@acme.example", "was": "2", "now": "1"},
            {"address": "nora@acme.example", "was": "1", "now": "2"},
        ]
    }


def test_an_address_of_a_user_who_is_not_listed_moves_only_when_that_is_wanted(api: ApiClient, users: str) -> None:
    bulk = f"{users}/bulk"
    api("POST", bulk, {"users": [item("9", "ap@acme.example", "ann@acme.example")]})
    wanted = {"users": [JO, item("1", "nora@acme.example", "AP@acme.example")]}
    refused = api("POST", bulk, wanted, code=422)
    assert refused["errors"] == [
        {
            "code": "user_taken",
            "detail": "AP@acme.example belongs to user '9'",
            "pointer": "#/users/1/addresses/1",
            "index": 1,
        }
    ]
    assert list(addresses(api, users)) == ["9"]
    moved = api("POST", bulk, wanted | {"addresses_of_others": "move"})
    assert moved["moved"] == [{"address": "AP@acme.example", "was": "9", "now": "1"}]
    assert addresses(api, users)["9"] == ["ann@acme.example"]


def test_a_duplicate_in_a_list_is_an_error_that_names_both(api: ApiClient, users: str) -> None:
    twice = [NORA, item("2", "jo@acme.example", "Nora@acme.example"), item("1", "other@acme.example")]
    refused = api("POST", f"{users}/bulk", {"users": twice}, code=422)
    assert [(error["index"], error["pointer"], error["code"]) for error in refused["errors"]] == [
        (1, "#/users/1/addresses/1", "user_taken"),
        (2, "#/users/2/external_id", "user_repeated"),
    ]
    assert [error["detail"] for error in refused["errors"]] == [
        "Nora@acme.example belongs to user '1'",
        "item 0 has the external_id '1' already",
    ]


WRONG: list[tuple[Any, str]] = [
    ({"external_id": "3", "name": "N"}, "#/users/1/addresses"),
    (item("3", "no address"), "#/users/1/addresses/0"),
    (item("3", "a@acme.example", email="x"), "#/users/1/email"),
    (item("3", "a@acme.example", action="delete"), "#/users/1/action"),
    (item("", "a@acme.example"), "#/users/1/external_id"),
    (item("3", 5), "#/users/1/addresses/0"),  # type: ignore[arg-type]
    (None, "#/users/1"),
    ([], "#/users/1"),
]


@pytest.mark.parametrize(("wrong", "pointer"), WRONG)
def test_one_wrong_user_keeps_all_out_unless_a_part_is_wanted(
    api: ApiClient, users: str, wrong: object, pointer: str
) -> None:
    body = {"users": [NORA, wrong, JO]}
    refused = api("POST", f"{users}/bulk", body, code=422)
    assert [(error["index"], error["pointer"]) for error in refused["errors"]] == [(1, pointer)]
    assert addresses(api, users) == {}
    taken = api("POST", f"{users}/bulk?partial=true", body)
    assert (taken["added"], taken["errors"]) == (2, refused["errors"])
    assert list(addresses(api, users)) == ["1", "2"]


def test_mistakes_of_every_kind_are_told_at_once(api: ApiClient, users: str) -> None:
    body = {"users": [NORA, item("2", "none"), item("3", "nora@acme.example"), {"external_id": "4"}]}
    refused = api("POST", f"{users}/bulk", body, code=422)
    assert sorted({error["index"] for error in refused["errors"]}) == [1, 2, 3]


def test_a_partial_list_leaves_out_the_taken_address_only(api: ApiClient, users: str) -> None:
    body = {"users": [NORA, item("2", "jo@acme.example", "nora@acme.example")]}
    assert api("POST", f"{users}/bulk?partial=true", body)["added"] == 2
    assert addresses(api, users) == {"1": ["nora@acme.example"], "2": ["jo@acme.example"]}


def test_users_missing_from_a_complete_list_are_set_inactive(api: ApiClient, users: str) -> None:
    api("POST", f"{users}/bulk", {"users": [NORA, JO, item("3", "kim@acme.example")]})
    left = {"users": [NORA], "missing": "deactivate"}
    assert api("POST", f"{users}/bulk", left) == counts(unchanged=1, deactivated=2)
    assert api("POST", f"{users}/bulk", left) == counts(unchanged=1)
    assert [user["active"] for user in api("GET", users)["users"]] == [True, False, False]
    assert api("POST", f"{users}/bulk", {"users": [JO]}) == counts(changed=1)


def test_a_wrong_description_does_not_make_a_user_missing(api: ApiClient, users: str) -> None:
    api("POST", f"{users}/bulk", {"users": [NORA, JO]})
    body = {"users": [NORA, item("2", "none")], "missing": "deactivate"}
    assert api("POST", f"{users}/bulk?partial=true", body)["deactivated"] == 0
    nameless = {"users": [NORA, {"name": "N"}], "missing": "deactivate"}
    refused = api("POST", f"{users}/bulk?partial=true", nameless, code=422)
    assert [error["code"] for error in refused["errors"]] == ["nameless"]


@pytest.mark.parametrize("external_id", ["\ud800", "\x00", "x" * 10_000])
def test_an_id_that_cannot_be_stored_is_nobodys(api: ApiClient, users: str, external_id: str) -> None:
    api("POST", f"{users}/bulk", {"users": [NORA, JO]})
    body = {"users": [NORA, item(external_id, "kim@acme.example")], "missing": "deactivate"}
    api("POST", f"{users}/bulk", body, code=422)
    assert api("POST", f"{users}/bulk?partial=true", body)["deactivated"] == 1


def test_separators_around_an_address_are_spaces(api: ApiClient, users: str) -> None:
    api("POST", f"{users}/bulk", {"users": [NORA]})
    refused = api("POST", f"{users}/bulk", {"users": [item("2", "\x1e", "no", "nora@acme.example\x1c")]}, code=422)
    assert [error["pointer"] for error in refused["errors"]] == ["#/users/0/addresses/0"]
    refused = api("POST", f"{users}/bulk", {"users": [item("2", "jo@acme.example", "nora@acme.example\x1c")]}, code=422)
    assert [error["pointer"] for error in refused["errors"]] == ["#/users/0/addresses/1"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"users": []}, "#/users"),
        ({"users": [NORA] * 5_001}, "#/users"),
        ({"users": {}}, "#/users"),
        ({"users": [NORA], "missing": "erase"}, "#/missing"),
        ({"users": [NORA], "dry_run": True}, "#/dry_run"),
        ({}, "#/users"),
    ],
)
def test_a_list_that_does_not_do_is_refused(api: ApiClient, users: str, body: object, pointer: str) -> None:
    refused = api("POST", f"{users}/bulk?partial=true", body, code=422)
    assert [error["pointer"] for error in refused["errors"]] == [pointer]


@pytest.mark.parametrize("wrong", [item("1", *["none"] * 100), {f"field{n}": 1 for n in range(1_000)}])
def test_ten_mistakes_of_a_user_are_told(api: ApiClient, users: str, wrong: dict[str, Any]) -> None:
    assert len(api("POST", f"{users}/bulk?partial=true", {"users": [wrong]})["errors"]) == 10


def test_a_thousand_mistakes_are_told_and_the_rest_is_counted(api: ApiClient, users: str) -> None:
    body = {"users": [item(f"{n}", "none") for n in range(1_500)]}
    refused = api("POST", f"{users}/bulk", body, code=422)
    assert (len(refused["errors"]), refused["errors_left_out"]) == (1_000, 500)


def test_requests_that_wait_for_an_import_of_their_tenants_hold_one_connection(
    api: ApiClient, users: str, tenant: int, conn: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(6) as programs:
        with conn.transaction():
            lock(conn, tenant)
            sent = [programs.submit(api.answer, "POST", f"{users}/bulk", {"users": [NORA]}) for _ in range(6)]
            wait_until_blocked(conn)
            time.sleep(0.3)
            waiting = conn.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").rowcount
        assert waiting == 1
        assert {each.result().status_code for each in sent} == {200}


def test_thousands_of_users_go_in_by_some_requests(api: ApiClient, users: str) -> None:
    for start in range(0, 10_000, 5_000):
        people = [item(f"{n}", f"person.{n}@acme.example") for n in range(start, start + 5_000)]
        assert api("POST", f"{users}/bulk", {"users": people}) == counts(added=5_000)


def test_a_dry_run_says_what_would_happen_and_changes_nothing(api: ApiClient, users: str) -> None:
    assert api("POST", f"{users}/bulk?dry_run=true", {"users": [NORA, JO]}) == counts(added=2)
    assert api("GET", users)["users"] == []
    api("POST", f"{users}/bulk", {"users": [NORA]})
    changed = {"users": [NORA | {"name": "Nora B"}, JO], "missing": "deactivate"}
    assert api("POST", f"{users}/bulk?dry_run=true", changed) == counts(added=1, changed=1)
    assert [each["name"] for each in api("GET", users)["users"]] == [NORA["name"]]


def test_what_is_left_out_is_kept_where_that_is_asked_for(api: ApiClient, users: str) -> None:
    given = item("17", "nora@acme.example") | {"action": "archive", "active": False}
    bare = item("17", "nora@acme.example")
    api("POST", f"{users}/bulk", {"users": [given]})
    assert api("POST", f"{users}/bulk", {"users": [bare], "left_out": "keep"}) == counts(unchanged=1)
    kept = {"users": [bare | {"action": "trash"}], "left_out": "keep"}
    assert api("POST", f"{users}/bulk", kept) == counts(changed=1)
    [found] = api("GET", users)["users"]
    assert (found["action"], found["active"]) == ("trash", False)
    assert api("POST", f"{users}/bulk", {"users": [bare]}) == counts(changed=1)
    [found] = api("GET", users)["users"]
    assert (found["action"], found["active"]) == (None, True)
