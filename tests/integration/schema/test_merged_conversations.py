"""The SQL functions that find the conversations that Front merged."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.schema.builders import Builder, insert_id

FAMILY = {"cnv_a", "cnv_b", "cnv_c", "cnv_d"}


@pytest.fixture
def tenant(build: Builder) -> int:
    """The tenant Acme, with a and b merged into c, and c into d."""
    for gone, into in (("cnv_a", "cnv_c"), ("cnv_b", "cnv_c"), ("cnv_c", "cnv_d")):
        build.merge(gone, into)
    return build.tenant


def value(conn: psycopg.Connection[Any], query: str, *values: Any) -> Any:
    row = conn.execute(query.encode(), values).fetchone()
    assert row
    return row[0]


@pytest.mark.parametrize("conversation", sorted(FAMILY))
def test_was_never_merged_is_false_for_both_sides_of_a_merge(
    conn: psycopg.Connection[Any], tenant: int, conversation: str
) -> None:
    assert value(conn, "SELECT was_never_merged(%s, %s)", tenant, conversation) is False


def test_was_never_merged_is_true_for_another_conversation_and_another_tenant(
    conn: psycopg.Connection[Any], tenant: int
) -> None:
    assert value(conn, "SELECT was_never_merged(%s, %s)", tenant, "cnv_alone") is True
    assert value(conn, "SELECT was_never_merged(%s, %s)", tenant + 1, "cnv_a") is True


@pytest.mark.parametrize("conversation", sorted(FAMILY))
def test_conversation_family_is_the_same_for_every_member(
    conn: psycopg.Connection[Any], tenant: int, conversation: str
) -> None:
    rows = conn.execute("SELECT conversation_family(%s, %s)", (tenant, conversation)).fetchall()
    assert sorted(id_ for (id_,) in rows) == sorted(FAMILY)


def test_conversation_family_of_one_that_is_alone_is_itself(conn: psycopg.Connection[Any], tenant: int) -> None:
    for where, conversation in ((tenant, "cnv_alone"), (tenant + 1, "cnv_a")):
        rows = conn.execute("SELECT conversation_family(%s, %s)", (where, conversation)).fetchall()
        assert rows == [(conversation,)]


def test_conversation_family_ends_where_merges_form_a_circle(
    conn: psycopg.Connection[Any], build: Builder, tenant: int
) -> None:
    build.merge("cnv_d", "cnv_a")
    rows = conn.execute("SELECT conversation_family(%s, %s)", (tenant, "cnv_b")).fetchall()
    assert {id_ for (id_,) in rows} == FAMILY


@pytest.mark.parametrize(("conversation", "family"), [("cnv_b", FAMILY), ("cnv_alone", {"cnv_alone"})])
def test_conversation_family_array_has_the_family(
    conn: psycopg.Connection[Any], tenant: int, conversation: str, family: set[str]
) -> None:
    found = value(conn, "SELECT conversation_family_array(%s, %s)", tenant, conversation)
    assert sorted(found) == sorted(family)


@pytest.mark.parametrize(
    ("conversation", "survivor"),
    [("cnv_a", "cnv_d"), ("cnv_c", "cnv_d"), ("cnv_d", "cnv_d"), ("cnv_alone", "cnv_alone")],
)
def test_surviving_conversation_is_the_end_of_the_chain(
    conn: psycopg.Connection[Any], tenant: int, conversation: str, survivor: str
) -> None:
    assert value(conn, "SELECT surviving_conversation(%s, %s)", tenant, conversation) == survivor


def test_surviving_conversation_ends_where_merges_form_a_circle(
    conn: psycopg.Connection[Any], build: Builder, tenant: int
) -> None:
    build.merge("cnv_d", "cnv_a")
    assert value(conn, "SELECT surviving_conversation(%s, %s)", tenant, "cnv_b") in FAMILY


def test_families_in_order_are_sorted_by_tenant_and_bytes_and_name_each_conversation_once(
    conn: psycopg.Connection[Any], tenant: int
) -> None:
    second = insert_id(conn, "tenants", name="Second")
    values = ([second, tenant, tenant, tenant], ["cnv_a", "cnv_b", "cnv_Z", "cnv_a"])
    rows = conn.execute("SELECT * FROM families_in_order(%s, %s)", values).fetchall()
    assert rows == [*((tenant, id_) for id_ in ("cnv_Z", *sorted(FAMILY))), (second, "cnv_a")]
