"""Finds the database of this installation, and the tenant a command is about."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from console.cli.commands import NothingMatched
from shared.db import tenants
from shared.db.session import session
from shared.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.db.pool import Connection
    from shared.db.tenants import TenantOverview


@contextmanager
def database() -> Iterator[Connection]:
    """A connection to DATABASE_URL, or to the server of a `mailroom up` with the same MAILROOM_DATA."""
    with session(load().require("database_url").database_url.get_secret_value()) as conn:
        yield conn


def the_tenant(conn: Connection, name: str) -> TenantOverview:
    """The tenant called so. Raises NothingMatched with what to try."""
    tenant = tenants.find(conn, name)
    if tenant is None:
        raise NothingMatched(f"there is no tenant {name!r}; `mailroom tenant list` names all")
    return tenant


def no_such_user(external_id: str | None) -> NothingMatched:
    """What to raise for a user whom the tenant does not have."""
    return NothingMatched(f"there is no user {external_id!r}; `mailroom user list` names all")
