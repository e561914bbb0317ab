"""Requests of one tenant run one after the other; those of other tenants do not wait for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from console.tenant_concurrency import Crowded, TenantLocks

ACME, OTHER = 1, 2


def acquire(tenant_locks: TenantLocks, tenant: int) -> None:
    with tenant_locks.lock(tenant):
        pass


def test_a_lock_is_held_for_one_tenant_only() -> None:
    tenant_locks = TenantLocks(max_requests=2, timeout_seconds=0.01)
    with tenant_locks.lock(ACME):
        acquire(tenant_locks, OTHER)
        with pytest.raises(Crowded, match="for too long"):
            acquire(tenant_locks, ACME)
    acquire(tenant_locks, ACME)


def test_a_full_queue_refuses_a_request_at_once() -> None:
    tenant_locks = TenantLocks(max_requests=1, timeout_seconds=600)
    with tenant_locks.lock(ACME), pytest.raises(Crowded, match="1 requests"):
        acquire(tenant_locks, ACME)


def test_waiting_requests_run_one_at_a_time() -> None:
    tenant_locks, running, most = TenantLocks(max_requests=8, timeout_seconds=60), 0, 0

    def work(_: int) -> None:
        nonlocal running, most
        with tenant_locks.lock(ACME):
            running += 1
            most = max(most, running)
            running -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert most == 1


def test_an_error_releases_the_lock() -> None:
    tenant_locks = TenantLocks(max_requests=1, timeout_seconds=0.01)
    with pytest.raises(KeyError), tenant_locks.lock(ACME):
        raise KeyError
    acquire(tenant_locks, ACME)
