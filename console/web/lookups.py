"""Look up now and then, for all requests, facts that are not in PostgreSQL or take long to find out."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import redis
import structlog

from console.checks import run_checks
from console.finding import Finding
from console.rejected import read_rejected
from shared.connection.budget import Budget
from shared.db import figures
from shared.db.core.pool import TooSlow
from shared.db.jobs import STATES
from shared.db.reading import monitoring, status
from shared.db.reading.filters import known_values
from shared.db.reading.tasks import count_in_states
from shared.db.tasks import rate_limit
from shared.errors import MailroomError, StoreUnavailable
from shared.intake.client import open_intake
from shared.redis_clients import brief_redis_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.filter_words import Words
    from shared.connection.budget import Usage
    from shared.db.core.pool import Connection, Pool
    from shared.db.reading.monitoring import TenantFigures
    from shared.intake.client import Intake
    from shared.settings import Settings

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
log = structlog.get_logger()
#: Of the values that are suggested while somebody types a filter.
MOST_SUGGESTED, SUGGESTED_SECONDS = 200, 60.0
#: The tasks that match a filter are counted now and then, and not at all where that takes long.
COUNTED_SECONDS, COUNT_WITHIN_SECONDS, MOST_KEPT = 15.0, 0.15, 200
CHECKED_SECONDS, INTAKE_SECONDS, BUDGET_SECONDS, PARKED_SECONDS, REJECTED_SECONDS = 15.0, 2.0, 10.0, 5.0, 2.0
#: Monitoring asks day and night, so it has the checks once a minute, and asks for tenants twice as often.
MONITORED_SECONDS, TENANT_SECONDS, MEMORY_SECONDS = 60.0, 30.0, 10.0
#: Tenants that have metrics of their own.
MOST_MONITORED = 50
#: Tenants that are at Front's limit or call most; an overview needs no more.
MOST_BUDGETS = 10
#: A page rather says that Redis does not answer than wait for it.
REDIS_SECONDS = 0.5


class Cached(Generic[T]):
    """The result of `find`, about so many seconds old at the most.

    A later caller gets the last result, and one thread finds out the next. A result that is ten times as old is
    shown to nobody: then they wait.
    """

    def __init__(self, find: Callable[[], T], *, seconds: float, longest: float | None = None) -> None:
        self._find = find
        self._seconds = seconds
        self._longest = 10 * seconds if longest is None else longest
        self._lock = threading.Lock()
        self._found: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the value. Raises what finding it out raises, if there is none that may be shown."""
        found = self._found
        if found is None or time.monotonic() - found[0] > self._longest:
            return self._wait()
        if time.monotonic() - found[0] > self._seconds and self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="lookup", daemon=True).start()
        return found[1]

    def peek(self) -> T | None:
        """Return the value, or None where that would wait; then one thread finds it out for the next caller."""
        found = self._found
        age = math.inf if found is None else time.monotonic() - found[0]
        if age > self._seconds and self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="lookup", daemon=True).start()
        return found[1] if found and age <= self._longest else None

    def _wait(self) -> T:
        asked = time.monotonic()
        with self._lock:
            if self._found and self._found[0] >= asked:  # somebody else found it out meanwhile
                return self._found[1]
            return self._refresh()

    def _refresh(self) -> T:
        value = self._find()
        self._found = (time.monotonic(), value)
        return value

    def _refresh_and_release(self) -> None:
        try:
            self._refresh()
        except MailroomError as exc:
            log.warning("lookup_failed", reason=str(exc))
        finally:
            self._lock.release()


class CachedByKey(Generic[K, T]):
    """The results of `find` for the keys that were asked for last, none older than so many seconds."""

    def __init__(self, find: Callable[[K], T], *, seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, Cached[T]] = OrderedDict()

    def get(self, key: K) -> T:
        """Return the value of the key. Raises what finding it out raises."""
        with self._lock:
            cached = self._kept.get(key) or Cached(
                partial(self._find, key), seconds=self._seconds, longest=self._seconds
            )
            self._kept[key] = cached
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return cached.get()


@dataclass(frozen=True, kw_only=True)
class IntakeState:
    """How many deliveries wait in Redis, and for how long the oldest has; None while Redis does not answer."""

    depth: int | None
    oldest_seconds: float


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The results of all checks, and when they were made."""

    at: datetime
    findings: list[Finding]

    @property
    def wrong(self) -> list[Finding]:
        """Those that need somebody."""
        return [each for each in self.findings if not each.ok]


@dataclass(frozen=True, kw_only=True)
class TenantBudget:
    """The calls that Front allows a tenant, and those of the last whole minute; None while Redis does not answer.

    `waiting` tasks are held back by the limit; None where the limit holds nothing back.
    """

    tenant_id: int
    tenant: str
    limit: int | None
    used: int | None
    wasted: int | None
    waiting: int | None


@dataclass(frozen=True, kw_only=True)
class MonitoredTenants:
    """The names of busy tenants that went silent, and the figures of those that are busiest now."""

    silent: list[str]
    busiest: list[TenantFigures]


@dataclass(frozen=True, kw_only=True)
class RedisMemory:
    """The bytes that Redis uses, and its `maxmemory`; 0 is no limit."""

    used: int
    limit: int


class Lookups:
    """The checks of `mailroom doctor`, the intake, budgets of busy tenants, parked work, rejected requests, and what
    monitoring asks for.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self.checked = Cached(self._check, seconds=CHECKED_SECONDS)
        self.intake = Cached(self._look_at_intake, seconds=INTAKE_SECONDS)
        self.budgets = Cached(lambda: pool.run(self._look_at_budgets), seconds=BUDGET_SECONDS)
        self.known_values = Cached(
            lambda: pool.run(partial(known_values, most=MOST_SUGGESTED)), seconds=SUGGESTED_SECONDS
        )
        self.changeable_tasks = CachedByKey(partial(_count_changeable, pool), seconds=COUNTED_SECONDS)
        self.parked = Cached(lambda: pool.run(status.parked_work), seconds=PARKED_SECONDS)
        self.rejected = Cached(lambda: read_rejected(settings), seconds=REJECTED_SECONDS)
        self.monitored_checks = Cached(self._check, seconds=MONITORED_SECONDS)
        self.monitored_tenants = Cached(lambda: pool.run(_look_at_tenants), seconds=TENANT_SECONDS)
        self.redis_memory = Cached(self._look_at_memory, seconds=MEMORY_SECONDS)

    @cached_property
    def _intake(self) -> Intake:
        return open_intake(self._settings, connect_seconds=REDIS_SECONDS, answer_seconds=REDIS_SECONDS)

    @cached_property
    def _budget(self) -> Budget:
        return Budget.from_url(self._settings.redis_url.get_secret_value())

    def _check(self) -> Checked:
        return Checked(at=datetime.now(UTC), findings=list(run_checks(self._settings)))

    def _look_at_intake(self) -> IntakeState:
        try:
            return IntakeState(depth=self._intake.depth(), oldest_seconds=self._intake.oldest_age_seconds())
        except StoreUnavailable:
            return IntakeState(depth=None, oldest_seconds=0.0)

    def _look_at_memory(self) -> RedisMemory | None:
        try:
            with brief_redis_client(self._settings.redis_url.get_secret_value()) as client:
                memory: Any = client.info("memory")
        except redis.RedisError:
            return None
        return RedisMemory(used=memory["used_memory"], limit=memory.get("maxmemory", 0))

    def budget_of(self, company_id: str) -> Usage | None:
        """Return the usage of one company's limit in the last whole minute; None while Redis does not answer."""
        return self._budget.usage([company_id]).get(company_id)

    def _look_at_budgets(self, conn: Connection) -> list[TenantBudget]:
        at_limit = rate_limit.tenants_at_limit(conn, self._budget)[:MOST_BUDGETS]
        last_minute = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)
        known = {each.tenant_id for each in at_limit}
        callers = [
            each for each in figures.busiest(conn, last_minute, limit=MOST_BUDGETS) if each.tenant_id not in known
        ]
        usage = self._budget.usage([each.company_id for each in callers])
        held_back = [
            TenantBudget(
                tenant_id=each.tenant_id,
                tenant=each.tenant,
                limit=each.limit,
                used=each.used,
                wasted=each.wasted,
                waiting=each.waiting + each.waiting_live,
            )
            for each in at_limit
        ]
        free = [
            TenantBudget(
                tenant_id=each.tenant_id,
                tenant=each.tenant,
                limit=usage[each.company_id].limit if each.company_id in usage else None,
                used=usage[each.company_id].used if each.company_id in usage else each.calls,
                wasted=usage[each.company_id].wasted if each.company_id in usage else None,
                waiting=None,
            )
            for each in callers
        ]
        return (held_back + free)[:MOST_BUDGETS]


def _count_changeable(pool: Pool, key: tuple[Words, int | None]) -> int | None:
    """Count the tasks that match these words of this tenant and can be changed; None where that takes long."""
    words, tenant_id = key
    states = tuple(dict.fromkeys(state for each in STATES.values() for state in each))
    try:
        with pool.reading(COUNT_WITHIN_SECONDS) as conn:
            return count_in_states(conn, words.filter(tenant_id=tenant_id, now=datetime.now(UTC)), states)
    except TooSlow:
        return None


def _look_at_tenants(conn: Connection) -> MonitoredTenants:
    return MonitoredTenants(
        silent=monitoring.silent_tenants(conn), busiest=monitoring.busy_tenants(conn, limit=MOST_MONITORED)
    )
