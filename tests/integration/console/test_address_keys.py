"""Different people have different addresses, also those whose addresses an earlier release took for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.addresses import match_key

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom

STORED = "SELECT u.external_id, a.address FROM user_addresses a JOIN users u ON u.id = a.user_id ORDER BY 1, a.position"


def store(conn: psycopg.Connection, external_id: str, *addresses: tuple[str, str]) -> None:
    """Add a user of Acme as an earlier release did, with (key, as given)."""
    row = conn.execute(
        "INSERT INTO users (tenant_id, external_id, name) SELECT id, %s, 'N' FROM tenants RETURNING tenant_id, id",
        (external_id,),
    ).fetchone()
    assert row
    for position, address in enumerate(addresses, 1):
        insert = "INSERT INTO user_addresses (tenant_id, user_id, address, as_given, position) VALUES (%s,%s,%s,%s,%s)"
        conn.execute(insert, (*row, *address, position))


@pytest.mark.usefixtures("acme")
def test_letters_that_only_look_alike_are_four_people(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    people = ("m.weiß@x.example", "m.weiss@x.example", "info@faß.example", "info@fass.example")
    for number, email in enumerate(people):
        mailroom("user", "add", "--tenant", "Acme", "--id", number, "--name", "N", "--email", email)
    assert [key for _, key in conn.execute(STORED)] == [
        "m.weiß@x.example", "m.weiss@x.example", "info@xn--fa-hia.example", "info@fass.example",
    ]  # fmt: skip


@pytest.mark.usefixtures("acme")
def test_migrating_gives_stored_addresses_their_new_keys(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    store(conn, "1", ("m.weiss@fass.example", "M.Weiß@faß.example"), ("nora@acme.example", "Nora@acme.example"))
    conn.execute(
        "INSERT INTO inbox_addresses (tenant_id, address, as_given) SELECT id, 'ap@büro.example', 'ap@büro.example' "
        "FROM tenants"
    )
    assert mailroom("migrate").stderr == ""
    assert conn.execute(STORED).fetchall() == [("1", "m.weiß@xn--fa-hia.example"), ("1", "nora@acme.example")]
    assert conn.execute("SELECT address FROM inbox_addresses").fetchall() == [("ap@xn--bro-hoa.example",)]
    mailroom("user", "add", "--tenant", "Acme", "--id", "2", "--name", "N", "--email", "m.weiss@fass.example")


@pytest.mark.usefixtures("acme")
def test_a_key_that_another_address_leaves_is_free(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    store(conn, "1", ("weiß@x.example", "weiss@x.example."), ("old", "Weiß@x.example"))
    mailroom("migrate")
    assert conn.execute(STORED).fetchall() == [("1", "weiss@x.example"), ("1", "weiß@x.example")]


@pytest.mark.usefixtures("acme")
def test_of_two_addresses_with_one_key_one_keeps_the_mail_and_none_is_deleted(
    mailroom: Mailroom, conn: psycopg.Connection
) -> None:
    store(conn, "17", ("a@xn--n3h.example", "a@xn--n3h.example"))
    store(conn, "18", ("a@☃.example", "A@☃.example"))
    for _ in range(2):
        told = mailroom("migrate").stderr
        assert told == (
            "tenant Acme: an address of user 18 is another spelling of one of user 17, which gets the mail; "
            "remove one of the two\n"
        )
        assert conn.execute(STORED).fetchall() == [("17", "a@xn--n3h.example"), ("18", "a@☃.example")]
    assert match_key("A@☃.example") == "a@xn--n3h.example"
