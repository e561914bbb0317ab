"""A migrated database with one tenant, and connections to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.schema.builders import Builder


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose statements are transactions of their own."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def other(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Another connection to the same database, also without transactions."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def build(conn: psycopg.Connection[Any]) -> Builder:
    """Adds rows for the tenant Acme."""
    return Builder(conn)
