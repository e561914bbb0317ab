"""Compare two schemas by PostgreSQL's catalogue, with storage, comments and the bodies of functions.

The order of columns does not count. A migration can only add a column at the end, and all our statements name columns.
"""

from __future__ import annotations

from typing import Any

import psycopg

_OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
#: PostgreSQL's own objects have lower numbers.
_FIRST_OWN = 16_384

#: A query for (name, definition) of each kind of object.
QUERIES = {
    "schema": f"SELECT n.nspname, coalesce(n.nspacl::text, '') FROM pg_namespace n WHERE {_OURS}",
    "extension": "SELECT extname, extversion FROM pg_extension",
    "relation": f"""
        SELECT c.oid::regclass::text, concat_ws(' ', 'kind', c.relkind, 'persistence', c.relpersistence, 'options',
               c.reloptions, 'row security', c.relrowsecurity, c.relforcerowsecurity, 'replica identity',
               c.relreplident, 'partition', c.relispartition, 'rights', c.relacl)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}
    """,
    "column": f"""
        SELECT c.oid::regclass || '.' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
               'not null', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
               'default', pg_get_expr(d.adbin, d.adrelid), 'collation', a.attcollation::regcollation,
               'storage', a.attstorage, a.attcompression, 'options', a.attoptions, 'statistics', a.attstattarget,
               'inherited', a.attinhcount, 'rights', a.attacl)
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE {_OURS} AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind NOT IN ('i', 'I')
    """,
    "constraint": f"""
        SELECT concat_ws('.', coalesce(nullif(k.conrelid, 0)::regclass::text, k.contypid::regtype::text), k.conname),
               concat_ws(' ', pg_get_constraintdef(k.oid), 'validated', k.convalidated)
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE {_OURS}
    """,
    "index": f"""
        SELECT i.indexrelid::regclass::text, concat_ws(' ', pg_get_indexdef(i.indexrelid), 'primary', i.indisprimary,
               'valid', i.indisvalid, 'clustered', i.indisclustered, 'replica identity', i.indisreplident)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {_OURS}
    """,
    "view": f"""
        SELECT c.oid::regclass::text, pg_get_viewdef(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS} AND c.relkind IN ('v', 'm')
    """,
    "rule": f"""
        SELECT r.ev_class::regclass || '.' || r.rulename, concat_ws(' ', pg_get_ruledef(r.oid), r.ev_enabled)
        FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {_OURS} AND r.rulename <> '_RETURN'
    """,
    "function": f"""
        SELECT p.oid::regprocedure::text, concat_ws(' ', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
               'rights', p.proacl)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OURS}
    """,
    "trigger": f"""
        SELECT t.tgrelid::regclass || '.' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {_OURS} AND NOT t.tgisinternal
    """,
    "event trigger": """
        SELECT evtname, concat_ws(' ', evtevent, evtfoid::regproc, evttags, evtenabled) FROM pg_event_trigger
    """,
    "sequence": f"""
        SELECT s.seqrelid::regclass::text, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin,
               s.seqmax, s.seqcache, s.seqcycle, 'of', d.refobjid::regclass, d.deptype)
        FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refobjsubid > 0
        WHERE {_OURS}
    """,
    "type": f"""
        SELECT t.oid::regtype::text, concat_ws(' ', t.typtype, t.typbasetype::regtype, 'not null', t.typnotnull,
               'default', t.typdefault, ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid
                                              ORDER BY enumsortorder))
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {_OURS}
    """,
    "policy": f"""
        SELECT p.polrelid::regclass || '.' || p.polname, concat_ws(' ', p.polcmd, p.polpermissive, p.polroles,
               pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {_OURS}
    """,
    "statistics": f"""
        SELECT s.stxname, pg_get_statisticsobjdef(s.oid)
        FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {_OURS}
    """,
    "comment": f"""
        SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description
        WHERE objoid >= {_FIRST_OWN}
    """,
}


def catalogue(conn: psycopg.Connection[Any]) -> dict[str, str]:
    """Return the definition of each of our objects in the database, by kind and name."""
    return {
        f"{kind} {name}": definition
        for kind, query in QUERIES.items()
        for name, definition in conn.execute(query.encode())
    }


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Return the objects that are in one catalogue only or differ between the two."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
