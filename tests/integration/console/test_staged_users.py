"""A staged list can set users active or inactive, and take addresses from users outside the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.db.tenants import tenants
from shared.db.users import user_writes, users
from shared.db.users.user_writes import AddressMove, ImportedUser, Mistake
from shared.db.users.users import Address, NewUser

if TYPE_CHECKING:
    import psycopg


def person(external_id: str, *addresses: str, active: bool | None = None) -> NewUser:
    given = tuple(Address(key=address, as_given=address) for address in addresses)
    return NewUser(external_id=external_id, name="N", action=None, addresses=given, active=active)


def written(
    conn: psycopg.Connection, tenant: int, *people: NewUser, move: bool = False
) -> tuple[dict[str, int], list[Mistake], list[AddressMove]]:
    with conn.transaction():
        user_writes.create_staging_tables(conn)
        user_writes.stage(conn, [ImportedUser(line=line, user=user) for line, user in enumerate(people)])
        mistakes = list(user_writes.remove_repeated_lines(conn))
        mistakes += user_writes.remove_taken_addresses(conn, tenant, move=move)
        moves = list(user_writes.moves(conn, tenant))
        user_writes.delete_old_addresses(conn, tenant)
        list(user_writes.write_users(conn, tenant, with_actions=True))
        return user_writes.count_outcomes(conn), mistakes, moves


def addresses(conn: psycopg.Connection, tenant: int) -> dict[str, list[str]]:
    return {user.external_id: user.addresses for user in users.page(conn, tenant, limit=10)}


@pytest.fixture
def tenant(conn: psycopg.Connection) -> int:
    return tenants.add(conn, "Acme", "cmp_acme")


def test_an_address_is_taken_from_somebody_not_listed_only_when_asked(conn: psycopg.Connection, tenant: int) -> None:
    written(conn, tenant, person("9", "ap@acme.example", "ann@acme.example"))
    refused = written(conn, tenant, person("1", "ap@acme.example"))
    assert refused == (
        {"added": 1},
        [Mistake(line=0, what="ap@acme.example belongs to user '9'", address="ap@acme.example")],
        [],
    )
    outcomes, mistakes, moves = written(conn, tenant, person("1", "ap@acme.example"), move=True)
    assert (outcomes, mistakes) == ({"changed": 1}, [])
    assert moves == [AddressMove(address="ap@acme.example", owner="9", heir="1")]
    assert addresses(conn, tenant) == {"1": ["ap@acme.example"], "9": ["ann@acme.example"]}


def test_a_swap_within_the_list_is_two_moves(conn: psycopg.Connection, tenant: int) -> None:
    written(conn, tenant, person("1", "a@acme.example"), person("2", "b@acme.example"))
    outcomes, _, moves = written(conn, tenant, person("1", "b@acme.example"), person("2", "a@acme.example"))
    assert outcomes == {"changed": 2}
    assert [(move.owner, move.heir) for move in moves] == [("2", "1"), ("1", "2")]


def test_of_two_who_claim_an_outsiders_address_the_first_gets_it(conn: psycopg.Connection, tenant: int) -> None:
    written(conn, tenant, person("9", "ap@acme.example"))
    _, mistakes, moves = written(
        conn, tenant, person("1", "ap@acme.example"), person("2", "ap@acme.example", "b@acme.example"), move=True
    )
    assert [(mistake.line, mistake.what) for mistake in mistakes] == [(1, "ap@acme.example belongs to user '1'")]
    assert [move.heir for move in moves] == ["1"]
    assert addresses(conn, tenant) == {"1": ["ap@acme.example"], "2": ["b@acme.example"], "9": []}


def test_activity_changes_only_where_the_list_says_so(conn: psycopg.Connection, tenant: int) -> None:
    assert written(conn, tenant, person("1", "a@acme.example", active=False))[0] == {"added": 1}
    assert written(conn, tenant, person("1", "a@acme.example"))[0] == {"unchanged": 1}
    assert [user.active for user in users.page(conn, tenant, limit=1)] == [False]
    assert written(conn, tenant, person("1", "a@acme.example", active=True))[0] == {"changed": 1}


def test_users_missing_from_the_list_are_set_inactive_once(conn: psycopg.Connection, tenant: int) -> None:
    other = tenants.add(conn, "Other", "cmp_other")
    written(conn, other, person("9", "z@acme.example"))
    written(conn, tenant, person("1", "a@acme.example"), person("2", "b@acme.example"), person("3", "c@acme.example"))
    counts = []
    for _ in range(2):
        with conn.transaction():
            user_writes.create_staging_tables(conn)
            user_writes.stage(conn, [ImportedUser(line=0, user=person("1", "a@acme.example"))])
            list(user_writes.remove_taken_addresses(conn, tenant))
            counts.append(user_writes.deactivate_others(conn, tenant, but=["2"]))
    assert counts == [1, 0]
    assert [user.active for user in users.page(conn, tenant, limit=9)] == [True, True, False]
    assert [user.active for user in users.page(conn, other, limit=9)] == [True]
