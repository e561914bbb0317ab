"""Options that several commands share, and the connection, tenant or filter that they stand for."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from console.cli.commands import NothingMatched
from console.filter_words import LONGEST_VALUE, WORDS, BadFilter, Words, checked
from console.times import parse_duration, parse_since
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from console.filter_words import FilteredList
    from shared.db.core.pool import Connection
    from shared.db.tenants.tenants import TenantOverview

LONGEST_ACCOUNT = 100  # characters of the name of an account
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


class ConsoleUrl(click.ParamType[str]):
    """The address of a console."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address without a slash at its end."""
        from shared.setting_values import checked_origin

        try:
            return checked_origin(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """A number of bytes: `10G`."""

    name = "500M|10G"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        found = re.fullmatch(r"(\d{1,15})([KMGT]?)", str(value).strip(), re.IGNORECASE)
        if found is None or (size := int(found[1]) << 10 * "_KMGT".index(found[2].upper() or "_")) >= 2**63:
            self.fail(f"{value!r} is no size; it looks like 500M or 10G", param, ctx)
        return size


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
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV, in which a spreadsheet finds no formula.")
tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name or company id.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen and change nothing.")
limit_option = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)


def filter_options(listed: FilteredList) -> Callable[[Command], Command]:
    """Add an option for each filter word of the list; `selection_from` reads them."""

    def decorate(command: Command) -> Command:
        for name in reversed(listed.words):
            command = _filter_option(name, listed)(command)
        return command

    return decorate


def _filter_option(name: str, listed: FilteredList) -> Callable[[Command], Command]:
    if name == "state":
        return click.option("--state", type=click.Choice(listed.states), help="Only this state.")
    if name in {"since", "until"}:
        when = "from then on" if name == "since" else "before then"
        return click.option(f"--{name}", type=Since(), metavar="2h|7d|TIME", help=f"Only {when}.")
    return click.option(f"--{name}", metavar=name.upper(), help=f"Only of this {name}: {WORDS[name]}.")


#: What somebody can do to an endpoint, besides tests and new secrets.
EndpointChange = Literal["hold", "release", "remove"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows that the filter options and numbers of a command choose."""

    words: Words = field(default_factory=Words)
    ids: tuple[int, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether nothing narrows it."""
        return self == Selection()


def selection_from(chosen: Mapping[str, Any], listed: FilteredList, ids: tuple[int, ...] = ()) -> Selection:
    """Return what the filter options of a command chose. Raises UsageError."""
    given = {name: _word(value) for name, value in chosen.items() if name in listed.words and value is not None}
    try:
        return Selection(words=checked(Words(**given), listed), ids=ids)
    except BadFilter as problem:
        raise click.UsageError(str(problem)) from None


def _word(value: str | datetime) -> str:
    return value.isoformat() if isinstance(value, datetime) else clean(value, LONGEST_VALUE)


def remote_url() -> str:
    """Return the address of the console to work with: --url, else MAILROOM_URL; empty to work with the database."""
    return click.get_current_context().find_root().params.get("url") or ""


def remote_token() -> str:
    """Return the API token for the console: MAILROOM_TOKEN, or what the file MAILROOM_TOKEN_FILE has.

    Raises UsageError without a token. It is no option, because other users of the machine see those.
    """
    token, path = os.environ.get("MAILROOM_TOKEN", ""), os.environ.get("MAILROOM_TOKEN_FILE", "")
    try:
        token = (token or (path and Path(path).read_text(encoding="utf-8"))).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"MAILROOM_TOKEN_FILE: {path} cannot be read: {type(error).__name__}") from None
    if not token.isascii() or not token.isprintable():
        raise click.UsageError("MAILROOM_TOKEN is no token: it has other characters than a token has")
    if not token:
        raise click.UsageError("set MAILROOM_TOKEN; `mailroom api-token create` makes one where the console runs")
    return token


def require_no_remote() -> None:
    """Raise UsageError when the command is to work with a console elsewhere."""
    if remote_url():
        raise click.UsageError(
            "this command needs the database: run it beside the console, without --url or MAILROOM_URL"
        )


@contextmanager
def database() -> Iterator[Connection]:
    """Connect to DATABASE_URL, or to the server of a `mailroom up` with the same MAILROOM_DATA.

    Raises UsageError when the command is to work with a console elsewhere.
    """
    from shared.db.core.session import session
    from shared.settings import load

    require_no_remote()
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
        return clean(getpass.getuser(), LONGEST_ACCOUNT)
    except (KeyError, OSError):  # Python 3.13 made it an OSError
        return f"uid {os.getuid()}"


def unknown_user(external_id: str | None) -> NothingMatched:
    """Make the error for a user that the tenant does not have."""
    return NothingMatched(f"there is no user {external_id!r}; `mailroom user list` lists all")
