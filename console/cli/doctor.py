"""What `mailroom doctor` looks at: each check finds out one thing and says what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click
import redis

from console.cli.commands import FAILED
from console.cli.options import json_option
from console.cli.times import stamp
from console.key_rotation import Keyring, survey
from shared.connection.vault import TokenVault
from shared.db.core import migrate
from shared.db.core.session import session
from shared.db.tasks import outages
from shared.db.tenants import connections, erasing, tenants
from shared.errors import ConfigurationError, MailroomError
from shared.settings import Settings
from shared.storage import Storage

AWAY = {
    "front": "wait for Front, or check FRONT_API_URL and the way to it; work goes on by itself",
    "storage": "make room at STORAGE_URL, or check who may write there; files go on by themselves",
}
OLDEST_REDIS = (7, 0)
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found; `fix` is what to do where it is not ok."""

    name: str
    ok: bool
    found: str
    fix: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> Iterator[Finding]:
    """Do every check; one that cannot be done is a finding, too."""
    for check, fix in CHECKS.items():
        try:
            yield from check(settings)
        except MailroomError as error:
            yield Finding(name=check.__name__, ok=False, found=str(error), fix=fix)


def settings_given(settings: Settings) -> Iterator[Finding]:
    """Nothing the programs need is missing."""
    settings.require("database_url", "redis_url")
    for name, why in (
        ("front_signing_keys", "the door refuses every webhook; copy the signing key from the Front app"),
        ("token_keys", "no tenant can be connected; set TOKEN_KEYS to what `mailroom keys generate` prints"),
    ):
        keys = getattr(settings, name)
        yield Finding(name=name, ok=bool(keys), found=f"{len(keys)} set" if keys else "not set", fix=why)


def postgresql(settings: Settings) -> Iterator[Finding]:
    """PostgreSQL answers and has this release's tables."""
    with session(settings.database_url.get_secret_value()) as conn:
        yield Finding(name="postgresql", ok=True, found=f"answers, version {conn.info.server_version // 10_000}")
        pending = migrate.pending(conn, migrate.known())
    missing = ", ".join(migration.name for migration in pending)
    yield Finding(
        name="migrations",
        ok=not pending,
        found=f"missing: {missing}" if pending else "applied",
        fix="run `mailroom migrate`",
    )


def redis_server(settings: Settings) -> Iterator[Finding]:
    """Redis is recent, never evicts, and writes what it acknowledged to its log."""
    settings.require("redis_url")
    try:
        with redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=3, socket_connect_timeout=3, decode_responses=True
        ) as client:
            facts: Any = client.info()
            sync = _appendfsync(client)
    except redis.RedisError as error:
        yield Finding(name="redis", ok=False, found=f"does not answer ({error})", fix="check REDIS_URL and the server")
        return
    version = tuple(int(part) for part in str(facts["redis_version"]).split(".")[:2])
    yield Finding(
        name="redis",
        ok=version >= OLDEST_REDIS,
        found=f"answers, version {facts['redis_version']}",
        fix="use Redis 7.0 or newer",
    )
    policy = facts["maxmemory_policy"]
    fix = "set maxmemory-policy noeviction: another policy deletes acknowledged deliveries when memory is full"
    yield Finding(name="redis eviction", ok=policy == "noeviction", found=policy, fix=fix)
    aof = bool(facts["aof_enabled"])
    yield Finding(name="redis log", ok=aof, found="on" if aof else "off", fix="set appendonly yes")
    fix = "set appendfsync always: with everysec a power cut takes up to a second of acknowledged deliveries"
    yield Finding(name="redis sync", ok=sync in {"always", "unknown"}, found=sync, fix=fix)


def storage(settings: Settings) -> Iterator[Finding]:
    """Files can be written, read and deleted."""
    place, _, _ = settings.storage.partition("?")  # behind it there may be keys
    Storage(settings.storage).check()
    yield Finding(name="storage", ok=True, found=f"writes, reads and deletes at {place}")


def outages_standing(settings: Settings) -> Iterator[Finding]:
    """Nothing that everybody needs is known to be away; it goes on by itself when it is back."""
    with session(settings.database_url.get_secret_value()) as conn:
        for outage in outages.current_outages(conn):
            found = f"since {stamp(outage.since)} UTC: {outage.detail}"
            yield Finding(name=f"{outage.what} is away", ok=False, found=found, fix=AWAY[outage.what])


def tokens(settings: Settings) -> Iterator[Finding]:
    """Every tenant is connected, its token opens, and no old key is needed for it."""
    with session(settings.database_url.get_secret_value()) as conn:
        unconnected, stored = tenants.without_connection(conn), connections.count_sealed(conn)
        fix = "send each one's admin the link of `mailroom tenant connect NAME`, or give an --api-token-file"
        found = f"without a connection: {', '.join(unconnected)}" if unconnected else f"{stored} connected"
        yield Finding(name="tenants", ok=not unconnected, found=found, fix=fix)
        if stored:
            yield from _sealing(survey(conn, TokenVault(settings.token_keys)))


def oauth_app(settings: Settings) -> Iterator[Finding]:
    """Tenants can be connected by a link: Front knows our app, and people and Front reach the console."""
    given = {
        "FRONT_CLIENT_ID": settings.front_client_id,
        "FRONT_CLIENT_SECRET": settings.front_client_secret.get_secret_value(),
    }
    missing = [name for name, value in given.items() if not value]
    if len(missing) == len(given) and _all_by_api_token(settings):
        yield Finding(name="oauth app", ok=True, found="not set; every tenant is connected by an API token")
        return
    found = f"not set: {', '.join(missing)}" if missing else "client id and secret set"
    fix = "copy client id and secret from the OAuth page of the Front app: without them no link connects a tenant"
    yield Finding(name="oauth app", ok=not missing, found=found, fix=fix)
    local = settings.mailroom_env == "development" and urlsplit(settings.public_url).hostname in LOOPBACK
    yield Finding(
        name="public url",
        ok=local or settings.public_url.startswith("https://"),
        found=settings.public_url,
        fix="set PUBLIC_URL to the https address at which your proxy passes requests to the console, and list "
        "PUBLIC_URL/oauth/callback as a redirect URL of the Front app",
    )


def _all_by_api_token(settings: Settings) -> bool:
    with session(settings.database_url.get_secret_value()) as conn:
        kinds = [tenant.connection for tenant in tenants.list_all(conn)]
    return bool(kinds) and set(kinds) == {"api_token"}


def _sealing(keyring: Keyring) -> Iterator[Finding]:
    unread = ", ".join(each.tenant for each in keyring.unreadable)
    found = f"cannot be read: those of {unread}" if unread else f"{keyring.tokens} can be read"
    fix = "list the key they were sealed with in TOKEN_KEYS, or connect these tenants again"
    yield Finding(name="tokens", ok=not unread, found=found, fix=fix)
    found = f"{keyring.older} sealed with an older key" if keyring.older else "no token needs an older key"
    yield Finding(name="token keys in use", ok=not keyring.older, found=found, fix="run `mailroom keys rotate`")


def erased_companies(settings: Settings) -> Iterator[Finding]:
    """Nothing of ours to mend: only an admin of the company can end it."""
    with session(settings.database_url.get_secret_value()) as conn:
        for company in erasing.still_sending(conn):
            found = f"{company.company_id} still sends, {company.dropped:,} deliveries dropped; its admin can end it"
            yield Finding(name="erased company", ok=True, found=found)


CHECKS: dict[Check, str] = {
    settings_given: "set it, or start `mailroom up` with the same MAILROOM_DATA",
    postgresql: "start PostgreSQL, or check DATABASE_URL",
    redis_server: "check REDIS_URL",
    storage: "check STORAGE_URL, the space left and who may write there",
    outages_standing: "see the lines above",
    tokens: "see the lines above",
    oauth_app: "see the lines above",
    erased_companies: "start PostgreSQL, or check DATABASE_URL",
}


def _appendfsync(client: redis.Redis) -> str:
    """Managed servers do not tell; then their own documentation must."""
    try:
        answer: Any = client.config_get("appendfsync")
    except redis.ResponseError:
        return "unknown"
    return str(answer.get("appendfsync", "unknown"))


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check settings, servers, storage and tokens; exits 1 when something needs mending."""
    from console.cli.output import print_json

    findings = _findings()
    healthy = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": healthy, "checks": findings})
    else:
        _print(findings)
    if not healthy:
        ctx.exit(FAILED)


def _findings() -> list[Finding]:
    # DROPPED
    from shared.settings import load

    try:
        settings = load()
    except ConfigurationError as error:
        return [Finding(name="settings", ok=False, found=str(error), fix="correct the environment")]
    return [Finding(name="settings", ok=True, found="can be read"), *examine(settings)]


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    from console.cli.output import screen, shown

    page = screen()
    for finding in findings:
        mark = Text("ok    ", "green") if finding.ok else Text("WRONG ", "red")
        page.print(mark + shown(f"{finding.name}: {finding.found}"), soft_wrap=True)
        if not finding.ok:
            page.print(Text(f"      fix: {finding.fix}"), soft_wrap=True)
