"""`mailroom event`: list events, and show everything known of one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import click

from console.cli.commands import NothingMatched
from console.cli.options import database, filter_from, filter_options, find_tenant, json_option, limit_option
from console.cli.output import print_json, print_table, say_if_empty
from console.times import format_short_time
from shared.models import EVENT_STATES

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


@click.group()
def event() -> None:
    """List events and look at one."""


@event.command("list")
@filter_options(EVENT_STATES)
@limit_option
@json_option
def list_(limit: int, as_json: bool, **chosen: Any) -> None:
    """List the newest events.

    Example: mailroom event list --tenant Acme --state failed --since 2h
    """
    from shared.db.reading import events

    with database() as conn:
        found = events.latest(conn, filter_from(conn, chosen), limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [(format_short_time(e.received_at), e.id, e.type, e.tenant or e.company_id, e.state, e.cause) for e in found]
    columns = ("received (UTC)", "event", "type", "tenant", "state", "cause")
    print_table(columns, rows, unwrapped=("received (UTC)", "event", "state"))
    say_if_empty(found, "such events")


@event.command()
@click.argument("evt")
@click.option("--tenant", metavar="T", help="The event's tenant, where two companies have the same id.")
@click.option("--company", metavar="cmp_…", help="The same, by company id.")
@click.option("--raw", is_flag=True, help="Print the body as Front sent it, byte for byte.")
@json_option
def show(evt: str, tenant: str | None, company: str | None, raw: bool, as_json: bool) -> None:
    """Show everything known of an event, by Front's id, our number or the id of a delivery.

    Addresses are shown, bodies only with --raw. Example: mailroom event show evt_4rk1x0bw
    """
    from console.cli.event.page import print_event
    from console.event_document import event_document
    from shared.db.reading.events import event_details

    with database() as conn, conn.transaction():
        number = _number(conn, evt, tenant, company)
        if raw:
            click.echo(_body(conn, number), nl=False)
            return
        found = event_details(conn, number)
    if found is None:
        raise LookupError(evt)
    document = event_document(found)
    if as_json:
        print_json(document)
    else:
        print_event(document)


def _number(conn: Connection, evt: str, tenant: str | None, company: str | None) -> int:
    """Return the number of the event with this name. Raises NothingMatched, and UsageError where several have it."""
    from shared.db.reading.events import find_by_any_id

    company = find_tenant(conn, tenant).company_id if tenant else company
    found = find_by_any_id(conn, evt, company_id=company)
    if not found:
        raise NothingMatched(f"there is no event {evt!r}; `mailroom event list` shows the newest")
    if len(found) > 1:
        several = ", ".join(f"{event.number} ({event.tenant or 'no tenant'}, {event.company_id})" for event in found)
        raise click.UsageError(f"{evt} is the id of several events: {several}; add --company, or use the number")
    return found[0].number


def _body(conn: Connection, number: int) -> bytes:
    from shared.db.reading.events import first_body

    body = first_body(conn, number)
    if body is None:
        raise NothingMatched("the body is no longer stored")
    return zlib.decompress(body)
