"""The core of `shared.db`: connections, locks and migrations, and the check of DATABASE_URL.

Messages never show the URL or a part of it: the part that looks like a host may be half of a password.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any

from shared.errors import ConfigurationError

_ENCODE = "percent-encode the characters @ : / ? # % and spaces in user and password (`@` is %40)"
#: No server listens here. libpq tries it only after it has found every option to be right.
_NOWHERE = "/mailroom/reads/its/url"
_INTEGERS = re.compile(r"connect_timeout|keepalives\w*|tcp_user_timeout")


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
