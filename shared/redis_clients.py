"""REDIS_URL, read once and in one way for all clients, and the clients themselves.

Messages never show the URL or a part of it: the part that looks like a host may be half of a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.asyncio import connection as asyncio_connection
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry

from shared.errors import ConfigurationError

_ENCODE = "percent-encode the characters @ : / ? # % and spaces in user and password (`@` is %40)"
_REDIS_FORMS = (
    "give one server as redis://, rediss:// (TLS) or unix:///path; Sentinel and Redis Cluster are not supported"
)
#: Timeouts, retries and the protocol are ours to choose; all clients take these.
_REDIS_OPTIONS = frozenset(
    {
        "client_name",
        "db",
        "password",
        "ssl_ca_certs",
        "ssl_ca_data",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_keyfile",
        "username",
    }
)
#: How an error begins that says "not this server, or not now". The name in REDIS_URL may lead to another server by now.
_UNFIT = frozenset(
    {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS", "READONLY", "UNBLOCKED"}
)
#: Nobody sets this key. Only a primary takes the command that deletes it; a replica answers READONLY.
WRITE_PROBE = "mailroom:probe"
_CLUSTER_CHECK_SECONDS = 0.5
_BRIEF_SECONDS = 0.5


def is_unfit(error: object) -> bool:
    """Whether Redis answered that this server takes no writes, or none now: the connection must not be used again."""
    known = (redis.exceptions.ReadOnlyError, redis.exceptions.ClusterDownError, redis.exceptions.AuthenticationError)
    return isinstance(error, known) or str(error).partition(" ")[0] in _UNFIT


class _EndsWithItsServer:
    """A connection of redis-py that ends when its server is no longer the primary, as after a failover.

    The next use then connects again, and so resolves the name again. redis-py and kombu treat the error like a lost
    connection; as a ResponseError it would keep the connection, and would end a Celery worker.
    """

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read the next reply. Raises ConnectionError where redis-py raises ResponseError for such a server."""
        parent: Any = super()
        try:
            return parent.read_response(*args, **options)
        except redis.ResponseError as exc:
            if not is_unfit(exc):
                raise
            connection: Any = self
            connection.disconnect()
            raise redis.ConnectionError(f"this server does not take commands now: {exc}") from exc


class PrimaryConnection(_EndsWithItsServer, Connection):
    """A connection over TCP."""


class PrimarySSLConnection(_EndsWithItsServer, SSLConnection):
    """A connection over TLS."""


class PrimaryUnixConnection(_EndsWithItsServer, UnixDomainSocketConnection):
    """A connection over a Unix socket."""


_CLASSES: Mapping[type, type] = {
    Connection: PrimaryConnection,
    SSLConnection: PrimarySSLConnection,
    UnixDomainSocketConnection: PrimaryUnixConnection,
}
_ASYNCIO_CLASSES: Mapping[type, Any] = {
    PrimaryConnection: asyncio_connection.Connection,
    PrimarySSLConnection: asyncio_connection.SSLConnection,
    PrimaryUnixConnection: asyncio_connection.UnixDomainSocketConnection,
}


@cache
def redis_options(url: str) -> Mapping[str, Any]:
    """Return the options of a connection of redis-py, its class among them. Raises ConfigurationError."""
    try:
        _refuse_odd_redis_url(url)
        options = {"connection_class": Connection, "host": "localhost", "port": 6379, "db": 0, **_parsed(url)}
    except ValueError:  # the library's own words repeat parts of the password
        raise ConfigurationError(f"not a URL that every client of Redis reads: {_REDIS_FORMS}; {_ENCODE}") from None
    if options["connection_class"] is UnixDomainSocketConnection:
        del options["host"], options["port"]
    options["connection_class"] = _CLASSES[options["connection_class"]]
    _try_redis_options(options)
    return MappingProxyType(options)


def redis_client(url: str, **options: Any) -> redis.Redis:
    """Return a client with connections of its own; it connects when first used. `options` as for a connection."""
    return redis.Redis.from_pool(ConnectionPool(**_merged(url, options)))


def brief_redis_client(url: str) -> redis.Redis:
    """Return a client that waits half a second for the server, for what can go on without an answer."""
    return redis_client(
        url,
        socket_timeout=_BRIEF_SECONDS,
        socket_connect_timeout=_BRIEF_SECONDS,
        # A new connection after a restart of Redis; no second try when Redis hangs.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


def asyncio_redis_connection(url: str, **options: Any) -> Any:
    """Return one connection for an event loop, which connects when first used."""
    merged = _merged(url, options)
    merged["connection_class"] = _ASYNCIO_CLASSES[merged["connection_class"]]
    pool: Any = asyncio_connection.ConnectionPool(**merged)
    return pool.make_connection()


def redis_place(url: str) -> str:
    """Return server and database for kombu and its log lines, without password and options."""
    options = redis_options(url)
    if "path" in options:
        return f"redis+socket://{options['path']}?virtual_host={options['db']}"
    host = f"[{options['host']}]" if ":" in options["host"] else options["host"]
    return f"redis://{host}:{options['port']}/{options['db']}"


def refuse_redis_cluster(url: str) -> None:
    """Raise ConfigurationError when the server at REDIS_URL belongs to a Redis Cluster. One that is away passes."""
    seconds = _CLUSTER_CHECK_SECONDS
    client = redis_client(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0), lib_name=None
    )
    with client:
        try:
            facts: Any = client.info("cluster")
        except (redis.RedisError, OSError):
            return
    if facts.get("cluster_enabled"):
        raise ConfigurationError(f"REDIS_URL: the server belongs to a Redis Cluster; {_REDIS_FORMS}")


def _parsed(url: str) -> dict[str, Any]:
    parse: Any = parse_url  # the library gives it no types
    return dict(parse(url))


def _merged(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**options, **redis_options(url)}
    if "path" in merged:
        merged.pop("socket_keepalive", None)  # a Unix socket has none
    return merged


def _refuse_odd_redis_url(url: str) -> None:
    """Refuse what one client reads and another one does not, or reads differently. Raises also ValueError."""
    parts = urlsplit(url)
    if parts.fragment or "@" in parts.path + parts.query or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError
    for name, _ in parse_qsl(parts.query, strict_parsing=True, keep_blank_values=True) if parts.query else ():
        if name not in _REDIS_OPTIONS:
            known = ", ".join(sorted(_REDIS_OPTIONS))
            raise ConfigurationError(f"has an option that is not one of {known}; take it out")
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            raise ValueError
    elif not re.fullmatch(r"/?\d*", parts.path) or "," in (parts.hostname or ""):
        raise ConfigurationError(f"the path is the database's number, as in /0; {_REDIS_FORMS}; {_ENCODE}")
    parts.port  # noqa: B018 - raises ValueError for a wrong one


def _try_redis_options(options: Mapping[str, Any]) -> None:
    """Make a connection of each kind, without connecting, and load its certificates."""
    settings = {name: value for name, value in options.items() if name != "connection_class"}
    if ("ssl_certfile" in settings) != ("ssl_keyfile" in settings):
        raise ConfigurationError("ssl_certfile and ssl_keyfile are given together")
    if settings["db"] < 0:
        raise ConfigurationError("the number of the database is negative")
    try:
        options["connection_class"](**settings)
        connection = _ASYNCIO_CLASSES[options["connection_class"]](**settings)
        if isinstance(connection, asyncio_connection.SSLConnection):
            connection.ssl_context.get()
    except (redis.RedisError, TypeError, ValueError, OSError) as exc:
        given = ", ".join(name for name in settings if name.startswith("ssl_"))
        raise ConfigurationError(
            f"the TLS options ({given}) do not work ({type(exc).__name__}); they belong to rediss://, ssl_cert_reqs is "
            "`required` or `none`, and files are readable and in PEM form"
        ) from None
