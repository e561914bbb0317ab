"""Connections to a migrated database, and a builder for rows of one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.schema.builders import Builder


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit mode."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def other(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A second connection to the same database, also in autocommit mode."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def build(conn: psycopg.Connection[Any]) -> Builder:
    """A builder of rows for the tenant Acme."""
    return Builder(conn)
