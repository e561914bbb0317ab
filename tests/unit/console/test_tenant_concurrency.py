"""A tenant's requests take turns; another tenant's do not wait for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from console.tenant_concurrency import Crowded, TenantLocks

ACME, OTHER = 1, 2


def take(tenant_locks: TenantLocks, tenant: int) -> None:
    with tenant_locks.lock(tenant):
        pass


def test_of_one_tenant_one_has_its_turn_and_of_another_one_too() -> None:
    tenant_locks = TenantLocks(max_requests=2, timeout_seconds=0.01)
    with tenant_locks.lock(ACME):
        take(tenant_locks, OTHER)
        with pytest.raises(Crowded, match="for too long"):
            take(tenant_locks, ACME)
    take(tenant_locks, ACME)


def test_who_comes_to_a_full_queue_is_sent_away_at_once() -> None:
    tenant_locks = TenantLocks(max_requests=1, timeout_seconds=600)
    with tenant_locks.lock(ACME), pytest.raises(Crowded, match="1 requests"):
        take(tenant_locks, ACME)


def test_all_who_wait_get_their_turn_alone() -> None:
    tenant_locks, together, most = TenantLocks(max_requests=8, timeout_seconds=60), 0, 0

    def work(_: int) -> None:
        nonlocal together, most
        with tenant_locks.lock(ACME):
            together += 1
            most = max(most, together)
            together -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert most == 1


def test_an_error_ends_the_turn() -> None:
    tenant_locks = TenantLocks(max_requests=1, timeout_seconds=0.01)
    with pytest.raises(KeyError), tenant_locks.lock(ACME):
        raise KeyError
    take(tenant_locks, ACME)
