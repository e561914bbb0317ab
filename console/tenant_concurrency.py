"""Let one request at a time change a tenant's users: in PostgreSQL each waiting request would keep a connection."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Crowded(MailroomError):
    """Too many requests change this tenant's users at once; send it again."""

    code = "crowded"


@dataclass
class _TenantLock:
    """The lock of one tenant; `requests` counts the request that has it and those that wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: int = 0


class TenantLocks:
    """A lock for each tenant, for at most `max_requests` at once; a request waits `timeout_seconds` at most."""

    def __init__(self, *, max_requests: int, timeout_seconds: float):
        self._max_requests = max_requests
        self._timeout_seconds = timeout_seconds
        self._locks: dict[int, _TenantLock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def lock(self, tenant_id: int) -> Iterator[None]:
        """Hold the tenant's lock. Raises Crowded after the timeout, and at once when too many requests are there."""
        tenant = self._join(tenant_id)
        try:
            if not tenant.lock.acquire(timeout=self._timeout_seconds):
                raise Crowded("other requests change this tenant's users for too long; send it again")
            try:
                yield
            finally:
                tenant.lock.release()
        finally:
            self._leave(tenant_id, tenant)

    def _join(self, tenant_id: int) -> _TenantLock:
        with self._guard:
            tenant = self._locks.setdefault(tenant_id, _TenantLock())
            if tenant.requests >= self._max_requests:
                raise Crowded(f"{tenant.requests} requests change this tenant's users at once; send it again")
            tenant.requests += 1
            return tenant

    def _leave(self, tenant_id: int, tenant: _TenantLock) -> None:
        with self._guard:
            tenant.requests -= 1
            if not tenant.requests:
                del self._locks[tenant_id]
