"""The API creates, shows, changes, lists and removes users with any ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.api.client import ApiClient
    from tests.integration.console.conftest import Mailroom

NORA = {"name": "Nora Lind", "addresses": ["Nora@acme.example", "n.lind@acme.example"]}


def person(name: str, *addresses: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "addresses": list(addresses), **more}


def test_a_user_is_made_once_and_then_replaced(api: ApiClient, users: str) -> None:
    shown = {"external_id": "17", **NORA, "action": None, "active": True}
    assert api("PUT", f"{users}/17", NORA, code=201) == shown
    assert api("PUT", f"{users}/17", NORA) == shown
    changed = api("PUT", f"{users}/17", person("Nora", "nora@acme.example", action="archive", active=False))
    assert changed == {**person("Nora", "nora@acme.example", action="archive", active=False), "external_id": "17"}
    assert api("GET", f"{users}/17") == changed


@pytest.mark.parametrize(
    "external_id",
    ["a/b", "/a//b/", "bulk", "50%", "a?b#c&d=e+f", "Zoë 😀", "a b", "..%2F", "<b>'\";--", "\\x", "a" * 200],
)
def test_an_external_id_comes_back_as_it_went(api: ApiClient, users: str, mailroom: Mailroom, external_id: str) -> None:
    path = f"{users}/{quote(external_id, safe='')}"
    assert api("PUT", path, NORA, code=201)["external_id"] == external_id
    assert api("GET", path)["external_id"] == external_id
    assert [user["external_id"] for user in mailroom.json("user", "list", "--tenant", "Acme")] == [external_id]
    api("DELETE", f"{path}?erase=true", code=204)
    assert api("GET", path, code=404)["code"] == "unknown_user"


def test_the_command_and_the_api_see_the_same_table(api: ApiClient, users: str, mailroom: Mailroom) -> None:
    mailroom("user", "add", "--tenant", "Acme", "--id", "9", "--name", "Ann", "--email", "ap@acme.example")
    api("PUT", f"{users}/17", NORA, code=201)
    assert api("GET", users)["users"] == mailroom.json("user", "list", "--tenant", "Acme")


def test_an_address_moves_only_when_that_is_wanted(api: ApiClient, users: str) -> None:
    api("PUT", f"{users}/9", person("Ann", "ap@acme.example", "ann@acme.example"), code=201)
    refused = api("PUT", f"{users}/17", person("Nora", "AP@acme.example"), code=409)
    assert (refused["code"], refused["detail"]) == ("user_taken", "AP@acme.example belongs to user '9'")
    api("GET", f"{users}/17", code=404)
    api("PUT", f"{users}/17?move=true", person("Nora", "AP@acme.example"), code=201)
    assert api("GET", f"{users}/9")["addresses"] == ["ann@acme.example"]


def test_a_part_is_changed_and_the_rest_stays(api: ApiClient, users: str) -> None:
    api("PUT", f"{users}/17", {**NORA, "action": "archive"}, code=201)
    assert api("PATCH", f"{users}/17", {"active": False, "name": None})["active"] is False
    shown = {**NORA, "external_id": "17", "action": "archive", "active": False}
    assert api("GET", f"{users}/17") == shown
    assert api("PATCH", f"{users}/17", {"action": None}) == {**shown, "action": None}
    assert api("PATCH", f"{users}/nobody", {"active": True}, code=404)["code"] == "unknown_user"


def test_a_deleted_user_is_inactive_unless_it_is_to_be_erased(
    api: ApiClient, users: str, conn: psycopg.Connection
) -> None:
    api("PUT", f"{users}/17", NORA, code=201)
    for _ in range(2):
        api("DELETE", f"{users}/17", code=204)
        assert api("GET", f"{users}/17")["active"] is False
    api("DELETE", f"{users}/17?erase=true", code=204)
    api("DELETE", f"{users}/17", code=404)
    assert conn.execute("SELECT count(*) FROM user_addresses").fetchone() == (0,)


def test_pages_follow_each_other_without_gap_or_repetition(api: ApiClient, users: str) -> None:
    people = [{"external_id": f"{n:03}", **person("N", f"{n}@acme.example", active=n % 2 == 0)} for n in range(25)]
    api("POST", f"{users}/bulk", {"users": people})
    seen: list[str] = []
    after = ""
    while True:
        page = api("GET", f"{users}?limit=10{after}")
        seen += (user["external_id"] for user in page["users"])
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == [f"{n:03}" for n in range(25)]
    assert [user["external_id"] for user in api("GET", f"{users}?active=false&limit=2")["users"]] == ["001", "003"]


def test_a_page_ends_at_any_id(api: ApiClient, users: str) -> None:
    ids = ["😀" * 200, "😁" * 200]
    for number, external_id in enumerate(ids):
        api("PUT", f"{users}/{quote(external_id)}", person("N", f"{number}@acme.example"), code=201)
    first = api("GET", f"{users}?limit=1")
    second = api("GET", f"{users}?limit=1&after={first['next']}")
    assert sorted(user["external_id"] for user in first["users"] + second["users"]) == ids


@pytest.mark.parametrize(
    ("address", "found"),
    [("nora@ACME.example", ["17"]), ("ap@acme.example", []), ("no address", []), ("%00", [])],
)
def test_a_user_is_found_by_address(api: ApiClient, users: str, address: str, found: list[str]) -> None:
    api("PUT", f"{users}/17", NORA, code=201)
    assert [user["external_id"] for user in api("GET", f"{users}?address={address}")["users"]] == found


@pytest.mark.parametrize("cursor", ["x", "WzEsIDJd", "bnVsbA", "W10", "%F0%9F%98%80", "Wzk5OTk5LCAiYSJd"])
def test_a_foreign_cursor_is_refused(api: ApiClient, users: str, cursor: str) -> None:
    refused = api("GET", f"{users}?after={cursor}", code=422)
    assert refused["errors"] == [
        {"code": "bad_cursor", "detail": "no cursor of this list; send `next` as you got it", "parameter": "after"}
    ]


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("17", {}, ["#/name", "#/addresses"]),
        ("17", {**NORA, "email": "x"}, ["#/email"]),
        ("17", {**NORA, "a/b~": "x"}, ["#/a~1b~0"]),
        ("17", {**NORA, "active": "yes"}, ["#/active"]),
        ("17", person("N"), ["#/addresses"]),
        ("17", person("N", "nora@acme.example", "no address", "b@@c"), ["#/addresses/1", "#/addresses/2"]),
        ("17", person("N", "a@acme.example", " "), ["#/addresses/1"]),
        ("17", person(" \t", "a@acme.example", action="mark_read"), ["#/name", "#/action"]),
        ("17", person("N\x00", "a@acme.example"), ["#/name"]),
        ("17", person("\ud800", "a@acme.example"), ["#/name"]),
        ("17?sideways=1", NORA, ["sideways"]),
        ("17?move=perhaps", NORA, ["move"]),
        ("a%00b", NORA, ["external_id"]),
        ("a" * 201, NORA, ["external_id"]),
    ],
)
def test_a_problem_points_at_the_wrong_field(
    api: ApiClient, users: str, path: str, body: object, where: list[str]
) -> None:
    refused = api("PUT", f"{users}/{path}", body, code=422)
    assert (refused["code"], refused["type"]) == ("invalid", "urn:mailroom:problem:invalid")
    assert [error.get("pointer", error.get("parameter")) for error in refused["errors"]] == where
    assert api("GET", users)["users"] == []


def test_a_new_user_is_only_made(api: ApiClient, users: str) -> None:
    nora = {"name": "Nora", "addresses": ["nora@acme.example"]}
    assert api("PUT", f"{users}/17?new=true", nora, code=201)["name"] == "Nora"
    assert api("PUT", f"{users}/17?new=true", nora, code=409)["code"] == "user_taken"
    assert api("PUT", f"{users}/18?new=true", nora, code=409)["code"] == "user_taken"
    assert [each["external_id"] for each in api("GET", users)["users"]] == ["17"]
