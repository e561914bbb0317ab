"""The recorder's statements: one per table and chunk, whatever the chunk holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from shared.db.core.arrays import Bigints, Texts
from shared.db.core.locks import hold_off_erasing, lock_conversations
from shared.db.core.pool import Connection
from shared.db.recording.rows import ActionRow, AttachmentRow, DeliveryRow, EventRow, TaskRow, columns
from shared.models import AddressOwner, EventKey, MatchedUser, Owners, SharedInbox, Tenant

# Address by address, by key alone: `OFFSET 0` leaves the planner no other way. As plain joins, tables that were filled
# and not yet analysed had every user read for every chunk: of a million that was 4,100 us for each event.
OWNERS = """
    SELECT k.tenant_id, k.address, a.position, i.inbox_name,
        u.id, u.external_id, u.active, u.action, d.id, d.external_id, d.active, d.action
    FROM unnest(%s::bigint[], %s::text[]) AS k(tenant_id, address)
    LEFT JOIN LATERAL (
        SELECT * FROM user_addresses WHERE tenant_id = k.tenant_id AND address = k.address OFFSET 0
    ) a ON true
    LEFT JOIN LATERAL (
        SELECT i.*, t.default_owner FROM inbox_addresses i JOIN tenants t ON t.id = i.tenant_id
        WHERE i.tenant_id = k.tenant_id AND address = k.address OFFSET 0
    ) i ON true
    LEFT JOIN LATERAL (
        SELECT * FROM users WHERE tenant_id = k.tenant_id AND id = coalesce(a.user_id, i.user_id) OFFSET 0
    ) u ON true
    LEFT JOIN LATERAL (SELECT * FROM users WHERE tenant_id = i.tenant_id AND id = i.default_owner OFFSET 0) d ON true
    WHERE a.address IS NOT NULL OR i.address IS NOT NULL
"""


def begin(conn: Connection) -> datetime:
    """Start a transaction that writes; the database's clock. Whoever has its company erased waits until it ends."""
    hold_off_erasing(conn)
    return begin_look_up(conn)


def begin_look_up(conn: Connection) -> datetime:
    """Start a transaction that only reads; the database's clock.

    Foreign-key checks plan once a session: planned against still empty tables they would scan them for ever after
    (384 instead of 7,761 events/s in a prototype), hence no sequential scans here.
    """
    row = conn.execute("SELECT now(), set_config('enable_seqscan', 'off', true)").fetchone()
    assert row is not None  # noqa: S101 -- SELECT without FROM gives one row
    return row[0]  # type: ignore[no-any-return]


def tenants_of(conn: Connection, company_ids: Iterable[str]) -> dict[str, Tenant]:
    """The tenants that have these companies, by company id."""
    with conn.cursor(row_factory=class_row(Tenant)) as cur:
        cur.execute(
            """
            SELECT id, company_id, connected_at, action, only_when_matched, wait_for, fold_plus, act_within,
                   only_inboxes, dry_run
            FROM tenants WHERE company_id = ANY(%s)
            """,
            (list(company_ids),),
        )
        return {tenant.company_id: tenant for tenant in cur}


def new_event_ids(conn: Connection, count: int) -> list[int]:
    """Ids for events to be inserted, so that what hangs on them can be sent before they are answered for."""
    if not count:
        return []
    # Its name is looked up once: in the place of `name` it would be for each of them.
    rows = conn.execute(
        """
        SELECT nextval(name) FROM (SELECT pg_get_serial_sequence('events', 'id')::regclass AS name OFFSET 0) sequence,
            generate_series(1, %s)
        """,
        (count,),
    )
    return [event_id for (event_id,) in rows]


def insert_events(conn: Connection, ids: Sequence[int], events: Sequence[EventRow]) -> None:
    """Insert events that were not known a moment ago, in key order: then two recorders never deadlock.

    One that another recorder has inserted meanwhile stays as that one wrote it. What hangs on ours violates a foreign
    key then, and the transaction is to be repeated.
    """
    conn.execute(
        """
        INSERT INTO events (id, company_id, front_id, tenant_id, type, conversation_id, message_id, source,
                            emitted_at, received_at, state, cause, recipients)
        OVERRIDING SYSTEM VALUE
        SELECT id, company_id, front_id, tenant_id, type, conversation_id, message_id, source,
               emitted_at, received_at, state, cause, recipients::json
        FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
                    %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[], %s::text[])
             AS e(id, company_id, front_id, tenant_id, type, conversation_id, message_id, source,
                  emitted_at, received_at, state, cause, recipients)
        ON CONFLICT ON CONSTRAINT one_event_per_company DO NOTHING
        """,
        [Bigints(ids), *columns(events, EventRow)],
    )


def known_events(conn: Connection, keys: Iterable[EventKey]) -> dict[EventKey, int]:
    """The ids of these events, as far as they are recorded."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = conn.execute(
        """
        SELECT e.company_id, e.front_id, e.id
        FROM unnest(%s::text[], %s::text[]) AS k(company_id, front_id) JOIN events e USING (company_id, front_id)
        """,
        (Texts(company_id for company_id, _ in wanted), Texts(front_id for _, front_id in wanted)),
    )
    return {(company_id, front_id): event_id for company_id, front_id, event_id in rows}


def adopt_events(conn: Connection, events: Sequence[EventRow]) -> dict[EventKey, int]:
    """Give parked events of an unknown company to the tenant that has it now; return the ids of those that changed."""
    rows = conn.execute(
        """
        UPDATE events e
        SET tenant_id = k.tenant_id, state = k.state, cause = k.cause, recipients = k.recipients::json
        FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[])
             AS k(company_id, front_id, tenant_id, state, cause, recipients)
        WHERE e.company_id = k.company_id AND e.front_id = k.front_id AND e.tenant_id IS NULL AND e.state = 'parked'
        RETURNING e.company_id, e.front_id, e.id
        """,
        (
            Texts(event.company_id for event in events),
            Texts(event.front_id for event in events),
            Bigints(event.tenant_id for event in events),
            Texts(event.state for event in events),
            Texts(event.cause for event in events),
            Texts(event.recipients for event in events),
        ),
    )
    return {(company_id, front_id): event_id for company_id, front_id, event_id in rows}


def insert_deliveries(conn: Connection, deliveries: Sequence[DeliveryRow]) -> None:
    """Keep deliveries; one that is already kept (an entry recorded but not yet deleted) stays as it is."""
    if deliveries:
        conn.execute(
            """
            INSERT INTO deliveries (id, event_id, received_at, origin, body)
            SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::text[], %s::bytea[])
            ON CONFLICT (id) DO NOTHING
            """,
            columns(deliveries, DeliveryRow),
        )


def insert_attachments(conn: Connection, attachments: Sequence[AttachmentRow]) -> None:
    """Write the files, each with the task that stores it: whose ids nobody here has to wait for."""
    if attachments:
        conn.execute(
            """
            WITH announced AS (
                INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type,
                                         declared_size, is_inline)
                SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
                                     %s::bigint[], %s::boolean[])
                RETURNING tenant_id, event_id, id
            )
            INSERT INTO tasks (tenant_id, event_id, kind, attachment_id, state)
            SELECT tenant_id, event_id, 'store_attachment', id, 'ready' FROM announced
            """,
            columns(attachments, AttachmentRow),
        )


def insert_actions(conn: Connection, actions: Sequence[ActionRow]) -> None:
    """Write what will be done to the conversations."""
    if actions:
        conn.execute(
            """
            INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at,
                                 dry_run)
            SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                                 %s::timestamptz[], %s::boolean[])
            """,
            columns(actions, ActionRow),
        )


def insert_tasks(conn: Connection, tasks: Sequence[TaskRow]) -> None:
    """Write the work, due now unless it waits to be released."""
    if tasks:
        conn.execute(
            """
            INSERT INTO tasks (tenant_id, event_id, kind, due_at, state, code, detail, settled_at)
            SELECT tenant_id, event_id, kind, CASE WHEN waits THEN 'infinity' ELSE now() END,
                   CASE WHEN failed IS NULL THEN 'ready' ELSE 'failed' END, failed, detail,
                   CASE WHEN failed IS NULL THEN NULL ELSE now() END
            FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::boolean[], %s::text[], %s::text[])
                 AS t(tenant_id, event_id, kind, waits, failed, detail)
            """,
            columns(tasks, TaskRow),
        )


def wake_actions(conn: Connection, conversations: Iterable[tuple[int, str]]) -> None:
    """Have the waiting actions of these conversations decided anew: somebody changed the conversation."""
    changed = set(conversations)
    if changed:
        lock_conversations(conn, changed)
    for tenant_id, conversation_id in changed:
        conn.execute(
            """
            UPDATE tasks t SET due_at = now() FROM actions a
            WHERE a.tenant_id = %(tenant)s AND a.state = 'planned'
              AND a.conversation_id = ANY(ARRAY(SELECT conversation_family(%(tenant)s, %(conversation)s)))
              AND t.event_id = a.event_id AND t.kind = 'apply_action' AND t.state = 'ready' AND t.due_at = 'infinity'
            """,
            {"tenant": tenant_id, "conversation": conversation_id},
        )


def owners_of(conn: Connection, keys: Iterable[tuple[int, str]]) -> dict[int, Owners]:
    """Whose these (tenant id, address key) pairs are, by tenant id; a user's own address is no inbox's."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = conn.execute(
        OWNERS, (Bigints(tenant_id for tenant_id, _ in wanted), Texts(address for _, address in wanted))
    )
    owners: dict[int, dict[str, AddressOwner | SharedInbox]] = {}
    for tenant_id, address, position, inbox_name, *users in rows:
        own, default = users[:4], users[4:]
        owners.setdefault(tenant_id, {})[address] = (
            SharedInbox(name=inbox_name, user=_user(own), default_owner=_user(default))
            if position is None
            else AddressOwner(user_id=own[0], external_id=own[1], active=own[2], action=own[3], position=position)
        )
    return dict(owners)


def _user(columns: Sequence[Any]) -> MatchedUser | None:
    user_id, external_id, active, action = columns
    if user_id is None:
        return None
    return MatchedUser(user_id=user_id, external_id=external_id, active=active, action=action)


def add_seen_types(conn: Connection, types: Collection[str]) -> set[str]:
    """Keep these types; those that were not there before."""
    rows = conn.execute(
        "INSERT INTO seen_event_types (type) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING RETURNING type",
        (sorted(types),),
    )
    return {event_type for (event_type,) in rows}


def seen_types(conn: Connection) -> list[str]:
    """All types that came by webhook."""
    return [event_type for (event_type,) in conn.execute("SELECT type FROM seen_event_types ORDER BY type")]


def mark_in_flight(conn: Connection, entry_ids: Sequence[str]) -> None:
    """Note that these are being recorded. Survives the recorder, not a crash of PostgreSQL: the table is unlogged."""
    conn.execute("SET LOCAL synchronous_commit = off")
    conn.execute(
        """
        INSERT INTO in_flight_entries (entry_id) SELECT unnest(%s::text[])
        ON CONFLICT (entry_id) DO UPDATE SET tries = in_flight_entries.tries + 1
        """,
        (Texts(entry_ids),),
    )


def forgive_in_flight(conn: Connection, entry_ids: Sequence[str]) -> None:
    """The recorder outlived its last try of these. They stay marked, so that each is tried alone."""
    conn.execute(
        "UPDATE in_flight_entries SET tries = greatest(tries - 1, 0) WHERE entry_id = ANY(%s)", (Texts(entry_ids),)
    )


def unmark_in_flight(conn: Connection, entry_ids: Sequence[str]) -> None:
    """These are recorded."""
    conn.execute("DELETE FROM in_flight_entries WHERE entry_id = ANY(%s)", (Texts(entry_ids),))


def marked_in_flight(conn: Connection) -> dict[str, int]:
    """What was being recorded when a recorder died or gave up, and how many died of it."""
    return dict(conn.execute("SELECT entry_id, tries FROM in_flight_entries").fetchall())
