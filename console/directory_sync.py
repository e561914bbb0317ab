"""Brings a tenant's users and shared inboxes in line with Front's lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay

from console.directory_changes import Change, InboxChange, address_keys, changes, inbox_changes
from shared.connection.client import TenantConnection
from shared.connection.tokens import FrontResources, front_client, token_endpoint
from shared.connection.vault import TokenVault
from shared.db.core.pool import open_pool
from shared.db.users import directory, users
from shared.db.users.directory import SyncedUser
from shared.errors import BudgetExhausted, NeedsReconnect
from shared.settings import load

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.front.client import TenantClient
    from shared.front.objects import Channel, Inbox, Teammate
    from shared.models import InboxAddress


#: The budget is shared with the workers: it comes back within a minute.
PATIENCE_SECONDS = 60.0
T = TypeVar("T")

WRITTEN = frozenset({"added", "changed", "deactivated"})


def ask_front(tenant_id: int, question: Callable[[TenantClient], T]) -> T:
    """What Front answers this tenant, with a newer token where it refuses the one in use.

    Raises NeedsReconnect, TokenUnavailable, MissingScope, and BudgetExhausted when waiting for a while did not help.
    """
    settings = load().require("database_url", "redis_url", "token_keys")
    with open_pool(settings, size=2, application_name="mailroom command") as pool:
        resources = FrontResources(
            pool=pool,
            vault=TokenVault(settings.token_keys),
            token_endpoint=token_endpoint(settings),
            front=front_client(settings),
        )
        patiently = Retrying(
            retry=retry_if_exception_type(BudgetExhausted),
            stop=stop_after_delay(PATIENCE_SECONDS),
            wait=_as_told,
            reraise=True,
        )
        connection = TenantConnection(resources, tenant_id)
        return patiently(lambda: _ask(connection, question))


def _ask(connection: TenantConnection, question: Callable[[TenantClient], T]) -> T:
    try:
        return question(connection.front())
    except NeedsReconnect:
        if not connection.renew():
            raise
        return question(connection.front())


def _as_told(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    return failure.retry_after if isinstance(failure, BudgetExhausted) else 0.0


def sync_teammates(conn: Connection, tenant_id: int, teammates: Sequence[Teammate], *, dry_run: bool) -> list[Change]:
    """Make the tenant's users those of Front, as far as nobody gave them otherwise; what was, or would be, done."""
    with conn.transaction():
        users.lock(conn, tenant_id)
        known = directory.users_to_compare(
            conn,
            tenant_id,
            external_ids=[teammate.id for teammate in teammates],
            address_keys=list(address_keys(teammates).values()),
        )
        found = changes(teammates, known)
        if not dry_run:
            directory.put_synced_users(conn, tenant_id, [_synced(change) for change in found if change.what in WRITTEN])
    return found


def sync_inboxes(
    conn: Connection, tenant_id: int, shared: Iterable[Inbox], channels: Iterable[Channel], *, dry_run: bool
) -> list[InboxChange]:
    """Take in the addresses of Front's shared inboxes, with the users mapped to them; what was, or would be, done."""
    with conn.transaction():
        users.lock(conn, tenant_id)
        found = inbox_changes(shared, channels, directory.inbox_addresses(conn, tenant_id))
        if not dry_run:
            directory.put_inbox_addresses(conn, tenant_id, _of(found, "added", "changed"))
            directory.remove_inbox_addresses(conn, tenant_id, [address.key for address in _of(found, "removed")])
    return found


def _of(found: Iterable[InboxChange], *what: str) -> list[InboxAddress]:
    return [change.address for change in found if change.what in what]


def _synced(change: Change) -> SyncedUser:
    return SyncedUser(
        external_id=change.external_id,
        name=change.name,
        active=change.what != "deactivated",
        address_key=change.address_key,
        address=change.email,
    )
