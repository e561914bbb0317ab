"""`mailroom event`: what came from Front, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from console.cli.options import filter_of, filter_options, json_option, limit_option
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
    from console.cli.options import database
    from console.cli.output import print_json, print_table, say_when_none
    from console.cli.times import short_stamp
    from shared.db.reading import events

    with database() as conn:
        found = events.latest(conn, filter_of(conn, chosen), limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [(short_stamp(e.received_at), e.id, e.type, e.tenant or e.company_id, e.state, e.cause) for e in found]
    columns = ("received (UTC)", "event", "type", "tenant", "state", "cause")
    print_table(columns, rows, whole=("received (UTC)", "event", "state"))
    say_when_none(found, "such events")


@event.command()
@click.argument("evt")
@click.option("--tenant", metavar="T", help="Whose, where two companies have the same id.")
@click.option("--company", metavar="cmp_…", help="The same by company id.")
@click.option("--raw", is_flag=True, help="Print the body as Front sent it, byte for byte.")
@json_option
def show(evt: str, tenant: str | None, company: str | None, raw: bool, as_json: bool) -> None:
    """Show all that is known of an event, by Front's id, our number or the id of a delivery.

    Addresses are shown, bodies only with --raw. Example: mailroom event show evt_4rk1x0bw
    """
    from console.cli.event.document import event_document
    from console.cli.event.page import print_event
    from console.cli.options import database
    from console.cli.output import print_json
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
    """Our number of the one event meant."""
    from console.cli.commands import NothingMatched
    from console.cli.options import the_tenant
    from shared.db.reading.events import find_by_any_id

    company = the_tenant(conn, tenant).company_id if tenant else company
    found = find_by_any_id(conn, evt, company_id=company)
    if not found:
        raise NothingMatched(f"there is no event {evt!r}; `mailroom event list` shows the newest")
    if len(found) > 1:
        several = ", ".join(f"{event.number} ({event.tenant or 'no tenant'}, {event.company_id})" for event in found)
        raise click.UsageError(f"{evt} is the id of several events: {several}; add --company, or use the number")
    return found[0].number


def _body(conn: Connection, number: int) -> bytes:
    import zlib

    from console.cli.commands import NothingMatched
    from shared.db.reading.events import first_body

    body = first_body(conn, number)
    if body is None:
        raise NothingMatched("the body is no longer stored")
    return zlib.decompress(body)
