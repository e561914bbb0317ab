"""Options that several commands share, and the connection, tenant or filter that they stand for."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.cli.commands import NothingMatched
from console.times import parse_duration, parse_since
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.db.core.pool import Connection
    from shared.db.reading.filters import Filter
    from shared.db.tenants.tenants import TenantOverview

LONGEST_WORD = 100  # characters of a filter value
Command = TypeVar("Command", bound=Callable[..., Any])


class Since(click.ParamType[datetime]):
    """A moment: `2h` ago, or an ISO time."""

    name = "2h|7d|ISO time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment in UTC."""
        try:
            return parse_since(str(value), datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[timedelta]):
    """A length of time: `7d`."""

    name = "7d|36h|90m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length of time."""
        try:
            return value if isinstance(value, timedelta) else parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name or company id.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen and change nothing.")
limit_option = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)


def filter_options(states: tuple[str, ...]) -> Callable[[Command], Command]:
    """Add the options that narrow a list, in one order everywhere; `filter_from` reads them."""
    options = (
        click.option("--tenant", metavar="T", help="Only this tenant (name or company id)."),
        click.option("--state", type=click.Choice(states), help="Only this state."),
        click.option("--code", metavar="CODE", help="Only with this cause, as in front_unavailable."),
        click.option("--kind", metavar="KIND", help="Only this kind of task, as in store_attachment."),
        click.option("--since", type=Since(), metavar="2h|7d|TIME", help="Only from then on."),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def filter_from(conn: Connection, chosen: dict[str, Any], ids: tuple[int, ...] | None = None) -> Filter:
    """Build the filter that the filter options describe. Raises NothingMatched for an unknown tenant."""
    from shared.db.reading.filters import Filter

    words: dict[str, Any] = {
        name: chosen[name] and clean(chosen[name], LONGEST_WORD) for name in ("state", "code", "kind")
    }
    tenant_id = find_tenant(conn, chosen["tenant"]).id if chosen["tenant"] else None
    return Filter(tenant_id=tenant_id, ids=ids, since=chosen["since"], **words)


@contextmanager
def database() -> Iterator[Connection]:
    """Connect to DATABASE_URL, or to the server of a `mailroom up` with the same MAILROOM_DATA."""
    from shared.db.core.session import session
    from shared.settings import load

    with session(load("database_url").database_url.get_secret_value()) as conn:
        yield conn


@contextmanager
def database_to_change() -> Iterator[Connection]:
    """Connect as `database` does, for one transaction. The journal names the operator."""
    with database() as conn, conn.transaction():
        act_as_user(conn)
        yield conn


def act_as_user(conn: Connection) -> None:
    """Let the journal name the operator for the changes of this transaction."""
    from shared.db.tenants import tenants

    tenants.act_as(conn, f"command of {operator_name()}")


def find_tenant(conn: Connection, name: str) -> TenantOverview:
    """Return the tenant with this name or company id. Raises NothingMatched, which says how to list the tenants."""
    from shared.db.tenants import tenants

    tenant = tenants.find(conn, name)
    if tenant is None:
        raise NothingMatched(f"there is no tenant {name!r}; `mailroom tenant list` lists all")
    return tenant


def operator_name() -> str:
    """Return the name of the account that runs the command, or its number where it has no name, as in a container."""
    try:
        return clean(getpass.getuser(), LONGEST_WORD)
    except (KeyError, OSError):  # Python 3.13 made it an OSError
        return f"uid {os.getuid()}"


def unknown_user(external_id: str | None) -> NothingMatched:
    """Make the error for a user that the tenant does not have."""
    return NothingMatched(f"there is no user {external_id!r}; `mailroom user list` lists all")
