"""Front's teammates become users, and changes by the operator stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from sandbox.server import RunningSandbox
    from tests.integration.console.conftest import Mailroom

SYNC = ("tenant", "sync-teammates", "Acme")


@pytest.fixture
def company(front: RunningSandbox, acme: str) -> Any:
    """Acme in Front, with three people, a bot and a blocked colleague."""
    return front.front.ensure_company("cmp_acme", acme, "acme-api-token")


def control(front: RunningSandbox, path: str, **body: Any) -> Any:
    answer = requests.post(f"{front.url}/sandbox/{path}", json=body, timeout=10)
    assert answer.ok, answer.text
    return answer.json()


def change_teammate(front: RunningSandbox, **body: Any) -> str:
    """Add, change or remove a teammate in Front and return their id."""
    return control(front, "companies/cmp_acme/teammates", **body)["id"]


def users_of(mailroom: Mailroom) -> dict[str, tuple[bool, list[str]]]:
    listed = mailroom.json("user", "list", "--tenant", "Acme")
    return {user["external_id"]: (user["active"], user["addresses"]) for user in listed}


def counts(report: dict[str, Any]) -> dict[str, int]:
    names = ("added", "changed", "deactivated", "unchanged", "left_alone")
    return {name: report[name] for name in names if report[name]}


def test_people_become_users_and_a_second_run_changes_nothing(mailroom: Mailroom, company: Any) -> None:
    people = {each.id: (True, [each.email]) for each in company.teammates[:3]}
    assert counts(mailroom.json(*SYNC)) == {"added": 3, "left_alone": 2}
    assert users_of(mailroom) == people
    assert counts(mailroom.json(*SYNC)) == {"unchanged": 3, "left_alone": 2}
    assert users_of(mailroom) == people


def test_a_dry_run_says_the_same_and_writes_nothing(mailroom: Mailroom, company: Any, conn: psycopg.Connection) -> None:
    would = mailroom(*SYNC, "--dry-run").stdout
    assert "would be: 3 added, 0 changed, 0 deactivated, 0 unchanged, 2 left alone" in would
    assert "no person but of type rule" in would
    assert "blocked in Front" in would
    assert conn.execute("SELECT count(*) FROM users").fetchone() == (0,)
    assert "\n3 added" in mailroom(*SYNC).stdout


def test_a_blocked_or_removed_teammate_is_set_inactive_and_comes_back(
    mailroom: Mailroom, front: RunningSandbox, company: Any
) -> None:
    blocked = company.teammates[1]
    gone = change_teammate(front, email="temp@acme.example", first_name="Temp")
    mailroom(*SYNC)
    change_teammate(front, id=blocked.id, is_blocked=True)
    change_teammate(front, id=gone, gone=True)
    report = mailroom.json(*SYNC)
    assert counts(report) == {"deactivated": 2, "unchanged": 2, "left_alone": 2}
    assert users_of(mailroom)[blocked.id] == (False, [blocked.email])
    assert users_of(mailroom)[gone] == (False, ["temp@acme.example"])
    change_teammate(front, id=blocked.id, is_blocked=False)
    assert counts(mailroom.json(*SYNC)) == {"changed": 1, "unchanged": 2, "left_alone": 2}
    assert users_of(mailroom)[blocked.id] == (True, [blocked.email])


def test_a_given_users_address_is_not_taken(mailroom: Mailroom, company: Any) -> None:
    theirs = company.teammates[0]
    mailroom("user", "add", "--tenant", "Acme", "--id", "17", "--name", "Ines", "--email", theirs.email.upper())
    report = mailroom.json(*SYNC)
    assert counts(report) == {"added": 2, "left_alone": 3}
    assert f"{theirs.email} belongs to user 17" in {change["why"] for change in report["changes"]}
    assert users_of(mailroom)["17"] == (True, [theirs.email.upper()])
    assert theirs.id not in users_of(mailroom)


def test_addresses_follow_the_teammates(mailroom: Mailroom, front: RunningSandbox, company: Any) -> None:
    one, other = company.teammates[:2]
    mailroom(*SYNC)
    change_teammate(front, id=one.id, email=other.email)
    change_teammate(front, id=other.id, email=one.email, last_name="Berg")
    report = mailroom.json(*SYNC)
    assert counts(report) == {"changed": 2, "unchanged": 1, "left_alone": 2}
    assert (users_of(mailroom)[one.id], users_of(mailroom)[other.id]) == ((True, [other.email]), (True, [one.email]))


def test_a_user_whom_a_list_names_is_yours_from_then_on(
    mailroom: Mailroom, front: RunningSandbox, company: Any, tmp_path: Path
) -> None:
    theirs = company.teammates[0]
    mailroom(*SYNC)
    (tmp_path / "people.csv").write_text(f"external_id,name,email\n{theirs.id},Ines,i@acme.example\n")
    mailroom("user", "import", tmp_path / "people.csv", "--tenant", "Acme")
    change_teammate(front, id=theirs.id, is_blocked=True)
    assert counts(mailroom.json(*SYNC)) == {"unchanged": 2, "left_alone": 3}
    assert users_of(mailroom)[theirs.id] == (True, ["i@acme.example"])


def test_a_missing_permission_is_named(mailroom: Mailroom, front: RunningSandbox, company: Any) -> None:
    control(front, "faults", kind="403", path_regex="^/teammates")
    result = mailroom(*SYNC, code=1)
    assert "missing_scope" in result.stderr
    assert "teammates:read" in result.stderr


def test_a_list_without_anybody_sets_nobody_inactive(mailroom: Mailroom, front: RunningSandbox, company: Any) -> None:
    mailroom(*SYNC)
    front.front.world.companies["cmp_acme"] = replace(company, teammates=())
    assert "nothing was changed" in mailroom(*SYNC, code=3).stderr
    assert {active for active, _ in users_of(mailroom).values()} == {True}


def test_another_tenants_users_are_not_concerned(mailroom: Mailroom, front: RunningSandbox, company: Any) -> None:
    mailroom("tenant", "add", "Other", "--company", "cmp_other")
    mailroom("user", "add", "--tenant", "Other", "--id", "1", "--name", "I", "--email", company.teammates[0].email)
    assert counts(mailroom.json(*SYNC)) == {"added": 3, "left_alone": 2}
    assert [user["external_id"] for user in mailroom.json("user", "list", "--tenant", "Other")] == ["1"]


def test_a_tenant_without_a_connection_is_told_to_connect(mailroom: Mailroom, front: RunningSandbox) -> None:
    mailroom("tenant", "add", "Acme", "--company", "cmp_acme")
    assert "needs_reconnect" in mailroom(*SYNC, code=1).stderr
