"""Bring a tenant's users and shared inboxes in line with Front's lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay

from console.directory_changes import InboxChange, TeammateChange, address_keys, inbox_changes, teammate_changes
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

BUDGET_WAIT_SECONDS = 60.0  # the workers share the budget, and Front renews it within a minute
WRITTEN_OUTCOMES = frozenset({"added", "changed", "deactivated"})

T = TypeVar("T")


def call_front(tenant_id: int, request: Callable[[TenantClient], T]) -> T:
    """Send a request as this tenant and return the answer, with a renewed token where Front refuses the stored one.

    Raises NeedsReconnect, TokenUnavailable, MissingScope, and BudgetExhausted after waiting for BUDGET_WAIT_SECONDS.
    """
    settings = load("database_url", "redis_url", "token_keys")
    with open_pool(settings, size=2, application_name="mailroom command") as pool:
        resources = FrontResources(
            pool=pool,
            vault=TokenVault(settings.token_keys),
            token_endpoint=token_endpoint(settings),
            front=front_client(settings),
        )
        retrying = Retrying(
            retry=retry_if_exception_type(BudgetExhausted),
            stop=stop_after_delay(BUDGET_WAIT_SECONDS),
            wait=_retry_after,
            reraise=True,
        )
        connection = TenantConnection(resources, tenant_id)
        return retrying(lambda: _send(connection, request))


def _send(connection: TenantConnection, request: Callable[[TenantClient], T]) -> T:
    try:
        return request(connection.front())
    except NeedsReconnect:
        if not connection.renew():
            raise
        return request(connection.front())


def _retry_after(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    return failure.retry_after if isinstance(failure, BudgetExhausted) else 0.0


def sync_teammates(
    conn: Connection, tenant_id: int, teammates: Sequence[Teammate], *, dry_run: bool
) -> list[TeammateChange]:
    """Make users of Front's teammates, and return the changes; with `dry_run` write nothing.

    Users that people here gave stay as they are.
    """
    with conn.transaction():
        users.lock(conn, tenant_id)
        known = directory.users_to_compare(
            conn,
            tenant_id,
            external_ids=[teammate.id for teammate in teammates],
            address_keys=list(address_keys(teammates).values()),
        )
        changes = teammate_changes(teammates, known)
        if not dry_run:
            written = [_synced_user(change) for change in changes if change.outcome in WRITTEN_OUTCOMES]
            directory.put_synced_users(conn, tenant_id, written)
    return changes


def _synced_user(change: TeammateChange) -> SyncedUser:
    return SyncedUser(
        external_id=change.external_id,
        name=change.name,
        active=change.outcome != "deactivated",
        address_key=change.address_key,
        address=change.email,
    )


def sync_inboxes(
    conn: Connection, tenant_id: int, inboxes: Iterable[Inbox], channels: Iterable[Channel], *, dry_run: bool
) -> list[InboxChange]:
    """Take in the addresses of Front's shared inboxes, and return the changes; with `dry_run` write nothing.

    Mapped addresses keep their user.
    """
    with conn.transaction():
        users.lock(conn, tenant_id)
        changes = inbox_changes(inboxes, channels, directory.inbox_addresses(conn, tenant_id))
        if not dry_run:
            directory.put_inbox_addresses(conn, tenant_id, _addresses(changes, "added", "changed"))
            removed = [address.key for address in _addresses(changes, "removed")]
            directory.remove_inbox_addresses(conn, tenant_id, removed)
    return changes


def _addresses(changes: Iterable[InboxChange], *outcomes: str) -> list[InboxAddress]:
    return [change.address for change in changes if change.outcome in outcomes]
