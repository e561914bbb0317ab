"""Options that several commands share, and what they turn into."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.cli.times import parse_duration, parse_since

if TYPE_CHECKING:
    from shared.db.pool import Connection
    from shared.db.reading.filters import Filter

LONGEST_WORD = 100
Command = TypeVar("Command", bound=Callable[..., Any])


class Since(click.ParamType[datetime]):
    """A moment: `2h` ago, or an ISO time."""

    name = "2h|7d|ISO time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment in UTC."""
        try:
            return parse_since(str(value), datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[timedelta]):
    """A length of time: `7d`."""

    name = "7d|36h|90m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The length of time."""
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
    """The options that narrow a list, in one order everywhere."""
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


def filter_of(conn: Connection, chosen: dict[str, Any], ids: tuple[int, ...] | None = None) -> Filter:
    """What the filter options ask for."""
    from console.cli.database import the_tenant
    from shared.db.reading.filters import Filter
    from shared.text import clean

    words = {name: chosen[name] and clean(chosen[name], LONGEST_WORD) for name in ("state", "code", "kind")}
    tenant_id = the_tenant(conn, chosen["tenant"]).id if chosen["tenant"] else None
    return Filter(tenant_id=tenant_id, ids=ids, since=chosen["since"], **words)
