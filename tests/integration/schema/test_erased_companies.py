"""The triggers that remove the company of a tenant from the erased companies (`forget_erased_company`)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from shared.db.core.locks import lock_for_erasing
from tests.integration.schema.builders import insert, insert_id


@pytest.fixture(autouse=True)
def erased(conn: psycopg.Connection[Any]) -> None:
    """Insert two erased companies."""
    for company in ("cmp_1", "cmp_2"):
        insert(conn, "erased_companies", company_id=company)


def erased_company_ids(conn: psycopg.Connection[Any]) -> list[str]:
    return [company for (company,) in conn.execute("SELECT company_id FROM erased_companies ORDER BY 1")]


def test_a_new_tenants_company_is_forgotten(conn: psycopg.Connection[Any]) -> None:
    insert(conn, "tenants", name="Without a company")
    assert erased_company_ids(conn) == ["cmp_1", "cmp_2"]
    insert(conn, "tenants", name="Acme", company_id="cmp_1")
    assert erased_company_ids(conn) == ["cmp_2"]


def test_a_tenants_new_company_is_forgotten(conn: psycopg.Connection[Any]) -> None:
    tenant = insert_id(conn, "tenants", name="Acme")
    conn.execute("UPDATE tenants SET company_id = 'cmp_2' WHERE id = %s", (tenant,))
    assert erased_company_ids(conn) == ["cmp_1"]


def test_a_tenant_that_keeps_its_company_changes_nothing(conn: psycopg.Connection[Any]) -> None:
    """An erasure inserts the company into erased_companies before it deletes the tenant."""
    tenant = insert_id(conn, "tenants", name="Acme", company_id="cmp_3")
    insert(conn, "erased_companies", company_id="cmp_3")
    conn.execute("UPDATE tenants SET company_id = company_id, name = 'Another' WHERE id = %s", (tenant,))
    assert erased_company_ids(conn) == ["cmp_1", "cmp_2", "cmp_3"]


def test_an_eraser_is_waited_for(conn: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> None:
    conn.execute("SET lock_timeout = '100ms'")
    with other.transaction():
        lock_for_erasing(other)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            insert(conn, "tenants", name="Acme", company_id="cmp_1")
    assert erased_company_ids(conn) == ["cmp_1", "cmp_2"]
