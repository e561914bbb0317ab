"""The core of `shared.db`: connections, locks and migrations, DATABASE_URL, and the words for a failure.

Messages never show the URL or a part of it: the part that looks like a host may be half of a password.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection

_ENCODE = "percent-encode the characters @ : / ? # % and spaces in user and password (`@` is %40)"
#: No server listens here. libpq tries it only after it has found every option to be right.
_NOWHERE = "/mailroom/reads/its/url"
_INTEGERS = re.compile(r"connect_timeout|keepalives\w*|tcp_user_timeout")
#: For every connection. It wins over the URL, PGCLIENTENCODING, and the defaults of role and database.
ENCODING: Mapping[str, Any] = {"client_encoding": "utf8"}
#: Has PostgreSQL give up a host that has been silent for 10 to 20 s. With the defaults of the system, the session of a
#: connection that broke without a word lives on for two hours, and keeps its locks.
_KEEPALIVES = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2; "
    "SET tcp_user_timeout = 10000"
)


def connect(url: str, *, application_name: str, timeouts: str = "", **options: Any) -> Connection:
    """Connect, with each statement as its own transaction. `timeouts` are SET statements; see `set_local`."""
    import psycopg  # noqa: PLC0415 - the door's code comes without it

    conn = psycopg.connect(url, autocommit=True, application_name=application_name, **ENCODING, **options)
    try:
        prepare_session(conn, timeouts)
    except BaseException:
        conn.close()
        raise
    return conn


def prepare_session(conn: Connection, timeouts: str = "") -> None:
    """Set the timeouts of a new session and its connection, or note that a pooler gives each transaction another one.

    A pooler such as PgBouncer invents the process id that it tells its clients. Through one, nothing may be left in a
    session: neither prepared statements, nor settings, nor locks.
    """
    row = conn.execute("SELECT pg_backend_pid()").fetchone()
    if row != (conn.info.backend_pid,):
        conn.prepare_threshold = None
        with conn.transaction():  # PgBouncer's statement mode refuses this
            return
    conn.execute(f"{timeouts}; {_KEEPALIVES}" if timeouts else _KEEPALIVES)


def is_pooled(conn: Connection) -> bool:
    """Whether a pooler is between us and PostgreSQL, in whatever mode."""
    return conn.prepare_threshold is None


def set_local(conn: Connection, timeouts: str) -> None:
    """Begin a transaction's work: through a pooler it has to set its timeouts itself. Costs nothing else."""
    if is_pooled(conn):
        conn.execute(timeouts.replace("SET ", "SET LOCAL "))


#: PostgreSQL and PgBouncer say so when they take no more connections. Such an error has no SQLSTATE.
_TOO_MANY = re.compile(r"too many (clients|connections)|remaining connection slots|no more connections allowed")


def is_full(reason: str) -> bool:
    """Whether PostgreSQL, or a pooler before it, refused one connection more."""
    return _TOO_MANY.search(reason) is not None


def reason_of(exc: psycopg.Error) -> str:
    """Return the server's message, or the end of libpq's first line: neither has the password."""
    lines = str(exc).splitlines()
    return exc.diag.message_primary or (lines[0].rpartition("failed: ")[2] if lines else type(exc).__name__)


def advice(reason: str) -> str:
    """Say what to do about a connection that PostgreSQL did not give or keep."""
    if is_full(reason):
        return (
            "all connections that PostgreSQL allows are taken; raise max_connections, or lower WORKER_THREADS or the "
            "number of processes (`mailroom doctor` adds up what they need)"
        )
    return "check DATABASE_URL"


def check_url(url: str) -> None:
    """Let libpq read the URL and the values of its options, without connecting. Raises ConfigurationError."""
    import psycopg  # noqa: PLC0415 - the door's code comes without it
    from psycopg import conninfo, pq  # noqa: PLC0415 - as above

    try:
        options: dict[str, Any] = dict(conninfo.conninfo_to_dict(url))
    except psycopg.Error:  # its text repeats the URL
        raise ConfigurationError(
            f"not a URL that PostgreSQL's own client reads: postgresql://user:password@host:5432/database, without "
            f"+driver; {_ENCODE}"
        ) from None
    _refuse_odd_database_options(url, options)
    hosts = str(options.pop("host", "")).split(",")
    options.pop("hostaddr", None)
    trial = conninfo.make_conninfo("", **{**options, "host": ",".join(_NOWHERE for _ in hosts)})
    attempt = pq.PGconn.connect_start(trial.encode())
    complaint = attempt.error_message.decode(errors="replace")
    attempt.finish()
    if "user" not in options and str(os.geteuid()) in complaint:  # libpq asks the system for a name
        raise ConfigurationError(
            f"names no user, and user {os.geteuid()} has no name on this system; write postgresql://user:password@…"
        )
    if complaint and _NOWHERE not in complaint:
        named = ", ".join(name for name in options if name in complaint) or "an option"
        raise ConfigurationError(f"PostgreSQL's client does not take the value of {named}; {_ENCODE}")


def _refuse_odd_database_options(url: str, options: Mapping[str, Any]) -> None:
    """Refuse what libpq takes, and would show in its messages later."""
    is_url = url.startswith(("postgresql://", "postgres://"))
    if is_url and any("@" in str(options.get(name, "")) for name in ("host", "port", "dbname")):
        raise ConfigurationError(f"an @ comes after the one that ends the password; {_ENCODE}")
    for address in filter(None, str(options.get("hostaddr", "")).split(",")):
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ConfigurationError("hostaddr is not an IP address") from None
    for name, value in options.items():
        if _INTEGERS.fullmatch(name) and not re.fullmatch(r"-?\d{1,9}", str(value)):
            raise ConfigurationError(f"{name} is not a whole number")
