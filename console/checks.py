"""The checks of `mailroom doctor` and of the Status page: each looks at one thing and says how to fix it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import redis

from console import tenant_checks
from console.access.provider import OIDC_RETURN, open_provider
from console.finding import HELD, Finding
from console.issued_secrets import OAUTH_SETTINGS, missing_oauth_settings
from console.rejected import is_alarming, read_rejected
from console.remedies import counted, silence
from console.times import format_duration, format_time
from shared.db import figures
from shared.db.core import migrate
from shared.db.core.session import session
from shared.db.host import endpoints
from shared.db.reading import status
from shared.db.tasks import outages
from shared.db.tenants import tenants
from shared.errors import MailroomError
from shared.intake.client import open_intake
from shared.redis_clients import redis_client
from shared.settings import REQUIRED_IN_PRODUCTION, Settings
from shared.storage import Storage

OLDEST_REDIS = (7, 0)
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
#: More apart, moments of one process would be in the past or the future of another.
CLOCK_SECONDS = 5
#: The alert OldestWaiting begins at the same ages.
DELIVERY_SECONDS, TASK_SECONDS = 60, 1_800
HELD_FIXES = {
    "failures": "mend the application there: `mailroom endpoint show NAME` has its last answer; it is probed by itself",
    "gone": "it answered 410; correct it, then `mailroom endpoint release NAME`, or `mailroom endpoint remove NAME`",
    "disabled": "it asked to get nothing more; `mailroom endpoint release NAME` when it is ready again",
}
OUTAGE_FIXES = {
    "front": "wait for Front, or check FRONT_API_URL and the way to it; work goes on by itself",
    "storage": "make room at STORAGE_URL, or check who may write there; files go on by themselves",
}


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Run every check; a check that cannot run is a finding, too."""
    for name, check, fix in CHECKS:
        try:
            yield from check(settings)
        except MailroomError as error:
            yield Finding(name=name, ok=False, found=str(error), fix=fix)


def _check_settings(settings: Settings) -> Iterator[Finding]:
    for name, fix in (
        ("front_signing_keys", "the door refuses every webhook; copy the signing key from the Front app"),
        ("token_keys", "no tenant can be connected; set TOKEN_KEYS to what `mailroom keys generate` prints"),
    ):
        keys = getattr(settings, name)
        yield Finding(name=name, ok=bool(keys), found=f"{len(keys)} set" if keys else "not set", fix=fix)
    port = "not set"
    if settings.metrics_port is not None:
        port = f"{settings.metrics_port or 'any free one'} of {settings.metrics_host}"
    yield Finding(name="metrics_port", ok=True, found=port, fix="")
    in_production = settings.mailroom_env == "production"
    settings.require(*(REQUIRED_IN_PRODUCTION if in_production else ("database_url", "redis_url")))


def _check_postgresql(settings: Settings) -> Iterator[Finding]:
    settings.require("database_url")
    with session(settings.database_url.get_secret_value()) as conn:
        yield Finding(name="postgresql", ok=True, found=f"answers, version {conn.info.server_version // 10_000}")
        encoding = migrate.server_encoding(conn)
        yield Finding(
            name="database encoding", ok=encoding == migrate.ENCODING, found=encoding, fix=migrate.ENCODING_FIX
        )
        migrate.pending(conn, migrate.known())
        state = migrate.schema_state(conn)
    yield _schema_finding(state)


def _schema_finding(state: migrate.SchemaState) -> Finding:
    if state.missing:
        found, fix = f"missing: {', '.join(state.missing)}", "run `mailroom migrate`"
    else:
        found = f"applied; newer than this release: {', '.join(state.newer)}" if state.newer else "applied"
        fix = "run the newer release: it took away what this one needs"
    return Finding(name="migrations", ok=not (state.missing or state.breaking), found=found, fix=fix)


def _check_redis(settings: Settings) -> Iterator[Finding]:
    settings.require("redis_url")
    try:
        with redis_client(
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
    in_cluster = bool(facts.get("cluster_enabled"))
    found, fix = "yes" if in_cluster else "no", "use one server: Redis Cluster is not supported"
    yield Finding(name="redis cluster", ok=not in_cluster, found=found, fix=fix)
    is_primary = facts.get("role", "master") == "master"
    found, fix = "primary" if is_primary else "replica, which takes no writes", "let REDIS_URL lead to the primary"
    yield Finding(name="redis role", ok=is_primary, found=found, fix=fix)
    if wanted := settings.redis_replicas:
        connected = int(facts.get("connected_slaves", 0))
        fix = "connect them, or lower REDIS_REPLICAS: until then the door keeps every delivery in PostgreSQL, too"
        yield Finding(name="redis replicas", ok=connected >= wanted, found=f"{connected} of {wanted}", fix=fix)
    policy = facts["maxmemory_policy"]
    fix = "set maxmemory-policy noeviction: another policy deletes acknowledged deliveries when memory is full"
    yield Finding(name="redis eviction", ok=policy == "noeviction", found=policy, fix=fix)
    aof = bool(facts["aof_enabled"])
    yield Finding(name="redis log", ok=aof, found="on" if aof else "off", fix="set appendonly yes")
    fix = "set appendfsync always: with everysec a power cut takes up to a second of acknowledged deliveries"
    yield Finding(name="redis sync", ok=sync in {"always", "unknown"}, found=sync, fix=fix)


def _appendfsync(client: redis.Redis) -> str:
    """Return the server's setting, or `unknown`: managed servers refuse CONFIG GET, and their documentation says it."""
    try:
        answer: Any = client.config_get("appendfsync")
    except redis.ResponseError:
        return "unknown"
    return str(answer.get("appendfsync", "unknown"))


def _check_storage(settings: Settings) -> Iterator[Finding]:
    Storage(settings.storage).check()
    place, _, _ = settings.storage.partition("?")  # the query may hold keys
    yield Finding(name="storage", ok=True, found=f"writes, reads and deletes at {place}")


def _check_clocks(settings: Settings) -> Iterator[Finding]:
    """Compare this machine's clock with those of PostgreSQL and Redis."""
    with session(settings.database_url.get_secret_value()) as conn:
        apart = {"PostgreSQL": _seconds_apart(lambda: status.clock(conn).timestamp())}
    with (
        redis_client(settings.redis_url.get_secret_value(), socket_timeout=3, socket_connect_timeout=3) as client,
        contextlib.suppress(redis.RedisError),
    ):  # the check of Redis says that it does not answer
        apart["Redis"] = _seconds_apart(lambda: _time_of(client))
    wrong = [
        f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {name}'s"
        for name, seconds in apart.items()
        if abs(seconds) > CLOCK_SECONDS
    ]
    found = (
        f"this machine's is {' and '.join(wrong)}" if wrong else f"within {CLOCK_SECONDS} s of {' and '.join(apart)}"
    )
    yield Finding(name="clocks", ok=not wrong, found=found, fix="set the clocks of all machines by NTP")


def _seconds_apart(read: Callable[[], float]) -> float:
    """Return by how much this machine's clock is ahead. The time of the question counts for neither."""
    before, other = time.time(), read()
    return (before + time.time()) / 2 - other


def _time_of(client: redis.Redis) -> float:
    seconds, microseconds = cast("tuple[int, int]", client.time())
    return seconds + microseconds / 1e6


def _check_waiting(settings: Settings) -> Iterator[Finding]:
    """Say for how long the oldest delivery and the oldest due task have waited, and whether that is too long."""
    with session(settings.database_url.get_secret_value()) as conn, conn.transaction():
        spooled, work, now = status.spool_status(conn), figures.open_work(conn), status.clock(conn)
    with closing(open_intake(settings)) as intake:
        delivery = max(intake.oldest_age_seconds(), spooled.oldest_age_seconds)
    task = max(0.0, (now - work.oldest_due_at).total_seconds()) if work.oldest_due_at else 0.0
    for name, seconds, most, fix in (
        (
            "oldest delivery",
            delivery,
            DELIVERY_SECONDS,
            "see that recorders are alive, and look for errors in their log",
        ),
        ("oldest task", task, TASK_SECONDS, "see whether workers are alive; start more, if they are and are busy"),
    ):
        found = f"waits for {format_duration(seconds)}" if seconds >= 1 else "none waits"
        yield Finding(name=name, ok=seconds <= most, found=found, fix=fix)


def _check_outages(settings: Settings) -> Iterator[Finding]:
    with session(settings.database_url.get_secret_value()) as conn:
        for outage in outages.current_outages(conn):
            found = f"since {format_time(outage.since)} UTC: {outage.detail}"
            yield Finding(name=f"{outage.what} is away", ok=False, found=found, fix=OUTAGE_FIXES[outage.what])


def _check_held_endpoints(settings: Settings) -> Iterator[Finding]:
    """Name the endpoints that are held. One that a person holds is ok: somebody meant it to wait."""
    with session(settings.database_url.get_secret_value()) as conn:
        held = endpoints.held(conn)
    for each in held:
        found = f"{each.held_cause}, since {format_time(each.held_at)} UTC" if each.held_at else str(each.held_cause)
        fix = HELD_FIXES.get(str(each.held_cause), "see `mailroom endpoint list`")
        yield Finding(name=f"{HELD} {each.name}", ok=each.held_cause == "person", found=found, fix=fix)
    if not held:
        yield Finding(name="endpoints", ok=True, found="none is held")


def _check_signatures(settings: Settings) -> Iterator[Finding]:
    """Compare the wrong signatures of the last hour with the webhooks received: a changed key makes many wrong."""
    wrong = read_rejected(settings).last_hour("invalid_signature")
    with session(settings.database_url.get_secret_value()) as conn:
        received = figures.sums(conn, datetime.now(UTC) - timedelta(hours=1)).received
    found = f"{wrong:,} wrong in the last hour, beside {counted(received, 'webhook', 'webhooks')} with a right one"
    fix = (
        "if the signing key was changed in Front, put the new one first in FRONT_SIGNING_KEYS; `mailroom rejected` "
        "shows from where the requests come"
    )
    yield Finding(name="signatures", ok=not is_alarming(wrong, received=received), found=found, fix=fix)


def _check_connections(settings: Settings) -> Iterator[Finding]:
    """Add up what all processes may open. A door opens one while Redis is away; this command has one, too."""
    with session(settings.database_url.get_secret_value()) as conn:
        processes = status.running_processes(conn, within=status.SILENT_SECONDS) + status.silent_processes(conn)
        use = status.connection_use(conn)
    ours = sum(process.connections for process in processes)
    needed = ours + settings.web_concurrency + use.of_others
    parts = (
        f"{ours} by {counted(len(processes), 'process', 'processes')}",
        f"{settings.web_concurrency} by the door",
        f"{use.of_others} by other programs",
    )
    yield Finding(
        name="connections",
        ok=needed <= use.allowed and use.used < use.allowed,
        found=f"{use.used} of {use.allowed} in use; up to {needed} are needed: {', '.join(parts)}",
        fix="raise PostgreSQL's max_connections, or lower WORKER_THREADS or the number of processes",
    )


def _check_processes(settings: Settings) -> Iterator[Finding]:
    """Name the processes that went silent. None at all is ok: somebody may look before they start."""
    with session(settings.database_url.get_secret_value()) as conn:
        alive = status.running_processes(conn, within=status.SILENT_SECONDS)
        silent = status.silent_processes(conn)
    kinds = Counter(process.kind for process in alive)
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    found += " alive" + (f"; silent: {silence(silent, datetime.now(UTC))}" if silent else "")
    fix = (
        "look at each: it is frozen, does not reach PostgreSQL, or was killed and not started again; restart it. One "
        "that stays away is forgotten after an hour"
    )
    yield Finding(name="processes", ok=not silent, found=found, fix=fix)


def _check_oauth_app(settings: Settings) -> Iterator[Finding]:
    """Check that links can connect tenants: Front knows the app, and the console has a public https address."""
    missing = missing_oauth_settings(settings)
    if len(missing) == len(OAUTH_SETTINGS) and not _any_by_link(settings):
        found = (
            "not set: a private app needs none; links for other companies need FRONT_CLIENT_ID and FRONT_CLIENT_SECRET"
        )
        yield Finding(name="oauth app", ok=True, found=found)
        return
    found = f"not set: {', '.join(missing)}" if missing else "client id and secret set"
    fix = "copy client id and secret from the OAuth page of the Front app: without them no link connects a tenant"
    yield Finding(name="oauth app", ok=not missing, found=found, fix=fix)
    name = "CONNECT_URL" if settings.connect_url else "PUBLIC_URL"
    local = settings.mailroom_env == "development" and urlsplit(settings.connect_origin).hostname in LOOPBACK_HOSTS
    yield Finding(
        name=name.lower().replace("_", " "),
        ok=local or settings.connect_origin.startswith("https://"),
        found=settings.connect_origin,
        fix=f"set {name} to the https address at which your proxy passes requests to the console, and list "
        f"{name}/oauth/callback as a redirect URL of the Front app",
    )


def _check_openid_provider(settings: Settings) -> Iterator[Finding]:
    """Check that people can log in by the OpenID provider, if there is one."""
    provider = open_provider(settings)
    if provider is not None:
        provider.begin()
        found = f"{provider.host} answers; its client needs the redirect URL {settings.public_url}{OIDC_RETURN}"
        yield Finding(name="openid provider", ok=True, found=found)


def _any_by_link(settings: Settings) -> bool:
    with session(settings.database_url.get_secret_value()) as conn:
        return any(tenant.connection == "oauth" for tenant in tenants.list_all(conn))


#: The checks in order. Name and fix are those of the finding when the check itself cannot run.
CHECKS: tuple[tuple[str, Callable[[Settings], Iterator[Finding]], str], ...] = (
    ("settings_given", _check_settings, "set it, or start `mailroom up` with the same MAILROOM_DATA"),
    ("postgresql", _check_postgresql, "start PostgreSQL, or check DATABASE_URL"),
    ("redis_server", _check_redis, "check REDIS_URL"),
    ("storage", _check_storage, "check STORAGE_URL, the space left and who may write there"),
    ("clocks", _check_clocks, "start PostgreSQL, or check DATABASE_URL"),
    ("waiting", _check_waiting, "see the lines above"),
    ("outages_standing", _check_outages, "see the lines above"),
    ("processes_alive", _check_processes, "see the lines above"),
    ("connections_counted", _check_connections, "see the lines above"),
    ("parked_work", tenant_checks.check_parked, "see the lines above"),
    ("rate_limits", tenant_checks.check_rate_limits, "see the lines above"),
    ("silent_tenants", tenant_checks.check_silent_tenants, "start PostgreSQL, or check DATABASE_URL"),
    ("held_endpoints", _check_held_endpoints, "start PostgreSQL, or check DATABASE_URL"),
    ("quotas", tenant_checks.check_quotas, "start PostgreSQL, or check DATABASE_URL"),
    ("signatures", _check_signatures, "check REDIS_URL"),
    ("tokens", tenant_checks.check_tokens, "see the lines above"),
    ("oauth_app", _check_oauth_app, "see the lines above"),
    ("openid_provider", _check_openid_provider, "check OIDC_ISSUER and the way to it; passwords work meanwhile"),
    ("erased_companies", tenant_checks.check_erased_companies, "start PostgreSQL, or check DATABASE_URL"),
)
