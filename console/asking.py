"""Asks Front as a tenant, for one command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay

from shared.access import Access
from shared.crypto import TokenVault
from shared.db.pool import open_pool
from shared.errors import BudgetExhausted, NeedsReconnect
from shared.means import FrontMeans, front_client, token_endpoint
from shared.settings import load

if TYPE_CHECKING:
    from shared.front.client import TenantClient

#: The budget is shared with the workers: it comes back within a minute.
PATIENCE_SECONDS = 60.0
T = TypeVar("T")


def ask_front(tenant_id: int, question: Callable[[TenantClient], T]) -> T:
    """What Front answers this tenant, with a newer token where it refuses the one in use.

    Raises NeedsReconnect, TokenUnavailable, MissingScope, and BudgetExhausted when waiting for a while did not help.
    """
    settings = load().require("database_url", "redis_url", "token_keys")
    with open_pool(settings, size=2, application_name="mailroom command") as pool:
        means = FrontMeans(
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
        access = Access(means, tenant_id)
        return patiently(lambda: _ask(access, question))


def _ask(access: Access, question: Callable[[TenantClient], T]) -> T:
    try:
        return question(access.front())
    except NeedsReconnect:
        if not access.renew():
            raise
        return question(access.front())


def _as_told(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    return failure.retry_after if isinstance(failure, BudgetExhausted) else 0.0
