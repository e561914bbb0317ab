"""Read the foreign keys, columns and indexes of our tables from PostgreSQL's catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    """A foreign key; `on_delete` is the catalogue's letter: `c` cascades, `n` sets null."""

    table: str
    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str


FOREIGN_KEYS = """
    SELECT c.conrelid::regclass::text, c.conname::text,
           ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(number, place)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY place),
           c.confrelid::regclass::text,
           ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(number, place)
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number ORDER BY place),
           c.confdeltype::text
    FROM pg_constraint c WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
COLUMNS = """
    SELECT c.table_name::text, c.column_name::text, c.data_type::text FROM information_schema.columns c
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1, c.ordinal_position
"""
INDEXES = """
    SELECT i.indrelid::regclass::text, ARRAY(
        SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY k(number, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number ORDER BY place),
        coalesce(pg_get_expr(i.indpred, i.indrelid), '')
    FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid WHERE t.relnamespace = 'public'::regnamespace
"""


def foreign_keys(conn: psycopg.Connection[Any]) -> list[ForeignKey]:
    """Return all foreign keys."""
    return [
        ForeignKey(
            table=table,
            name=name,
            columns=tuple(columns),
            target=target,
            target_columns=tuple(target_columns),
            on_delete=on_delete,
        )
        for table, name, columns, target, target_columns, on_delete in conn.execute(FOREIGN_KEYS)
    ]


def columns(conn: psycopg.Connection[Any]) -> list[tuple[str, str, str]]:
    """Return table, name and type of every column."""
    return conn.execute(COLUMNS).fetchall()


def indexed(conn: psycopg.Connection[Any]) -> list[tuple[str, tuple[str, ...], str]]:
    """Return table, columns and condition of every index."""
    return [(table, tuple(names), condition) for table, names, condition in conn.execute(INDEXES)]
