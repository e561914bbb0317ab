"""The checks of `mailroom doctor` about tenants: their mail, their limits and quotas, and their tokens."""

from __future__ import annotations

from collections.abc import Iterator

from console.finding import LIMIT, Finding
from console.key_rotation import KeyUsage, key_usage
from console.remedies import REMEDIES, counted, names
from console.times import format_time
from shared.connection.budget import Budget
from shared.connection.vault import TokenVault
from shared.db.core.session import session
from shared.db.reading import monitoring, status
from shared.db.tasks import rate_limit
from shared.db.tenants import connections, erasing, quotas, tenants
from shared.models import QUOTAS
from shared.settings import Settings

#: The causes of parked work that somebody chose.
MEANT_TO_WAIT = {"paused", "erasing"}


def check_rate_limits(settings: Settings) -> Iterator[Finding]:
    """Name the tenants at Front's rate limit. That is ok, unless many of their calls are made in vain."""
    budget = Budget.from_url(settings.redis_url.get_secret_value())
    with session(settings.database_url.get_secret_value()) as conn:
        for each in rate_limit.tenants_at_limit(conn, budget):
            if each.limit is None:
                continue
            found = f"{each.used:,} of {each.limit:,} calls used in the last minute, {each.wasted:,} of them wasted"
            fix = "look at the attempts of `mailroom event show`: Front fails, or another program uses the same limit"
            yield Finding(name=f"{LIMIT} of {each.tenant}", ok=not each.wastes_calls, found=found, fix=fix)


def check_silent_tenants(settings: Settings) -> Iterator[Finding]:
    with session(settings.database_url.get_secret_value()) as conn:
        silent = monitoring.silent_tenants(conn)
    found = "every busy tenant gets webhooks"
    if silent:
        found = f"no webhook in the last hour, though usually busy at this time: {names(silent)}"
    fix = (
        "look in Front whether the app's webhooks are still on, and whether they reach the door; `mailroom repair "
        "--since 6h` brings what was missed"
    )
    yield Finding(name="silent tenants", ok=not silent, found=found, fix=fix)


def check_quotas(settings: Settings) -> Iterator[Finding]:
    """Name the tenants that have used up a quota: their files wait at Front, and actions that wait for them."""
    with session(settings.database_url.get_secret_value()) as conn:
        held = quotas.held_tenants(conn)
    found = "no tenant has used up its quota"
    if held:
        found = names([f"{each.tenant} ({QUOTAS[each.quota]}, since {format_time(each.since)} UTC)" for each in held])
        found = f"files wait for {found}"
    fix = (
        "raise the quota with `mailroom tenant policy NAME --max-stored 20G --max-events-a-day 50000`, or keep files "
        "for a shorter time; a day's quota begins anew at 0:00 UTC"
    )
    yield Finding(name="quotas", ok=not held, found=found, fix=fix)


def check_tokens(settings: Settings) -> Iterator[Finding]:
    """Check that every tenant is connected, its token can be opened, and no token needs an older key."""
    with session(settings.database_url.get_secret_value()) as conn:
        unconnected, stored = tenants.without_connection(conn), connections.count_sealed(conn)
        fix = "send each one's admin the link of `mailroom tenant connect NAME`, or give an --api-token-file"
        found = f"without a connection: {names(unconnected)}" if unconnected else f"{stored} connected"
        yield Finding(name="tenants", ok=not unconnected, found=found, fix=fix)
        if refused := connections.refused_tenants(conn):
            found = names([f"{each.tenant} (since {format_time(each.since)} UTC)" for each in refused])
            fix = "connect each again: `mailroom tenant connect NAME`; if all are refused, check FRONT_CLIENT_SECRET"
            yield Finding(name="new tokens", ok=False, found=f"Front refuses them for {found}", fix=fix)
        if stored:
            yield from _sealing(key_usage(conn, TokenVault(settings.token_keys)))


def _sealing(usage: KeyUsage) -> Iterator[Finding]:
    unreadable = names([each.tenant for each in usage.unreadable])
    found = f"cannot be read: those of {unreadable}" if unreadable else f"{usage.tokens} can be read"
    fix = "list the key they were sealed with in TOKEN_KEYS, or connect these tenants again"
    yield Finding(name="tokens", ok=not unreadable, found=found, fix=fix)
    found = f"{usage.older} sealed with an older key" if usage.older else "no token needs an older key"
    yield Finding(name="token keys in use", ok=not usage.older, found=found, fix="run `mailroom keys rotate`")


def check_parked(settings: Settings) -> Iterator[Finding]:
    """Name the tenants whose work waits for somebody. Work that somebody paused is ok, and so is unclaimed mail."""
    with session(settings.database_url.get_secret_value()) as conn:
        for group in status.parked_work(conn):
            since = f"since {format_time(group.oldest_at)} UTC"
            if group.cause == "unknown_company":
                companies = counted(group.companies, "company", "companies")
                found = f"{counted(group.events, 'event', 'events')} of {companies} without a tenant, {since}"
                yield Finding(name="unclaimed mail", ok=True, found=found)
                continue
            found = f"{names(group.tenants)}: {counted(group.events, 'event', 'events')}, {since}"
            fix = REMEDIES.get(group.cause, "see `mailroom tenant show NAME`")
            yield Finding(name=f"parked: {group.cause}", ok=group.cause in MEANT_TO_WAIT, found=found, fix=fix)


def check_erased_companies(settings: Settings) -> Iterator[Finding]:
    """Name the erased companies that still send. Each is ok: only an admin of the company can end it."""
    with session(settings.database_url.get_secret_value()) as conn:
        for company in erasing.still_sending(conn):
            found = f"{company.company_id} still sends, {company.dropped:,} deliveries dropped; its admin can end it"
            yield Finding(name="erased company", ok=True, found=found)
