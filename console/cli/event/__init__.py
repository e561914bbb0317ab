"""`mailroom event`: list events, and show everything known of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.commands import NothingMatched
from console.cli.options import csv_option, filter_options, json_option, limit_option, selection_from
from console.cli.output import print_json, print_rows, print_table, say_if_empty
from console.filter_words import EVENT_LIST
from console.times import format_short_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.cli.backend import Backend
    from shared.db.reading.events import EventSummary


@click.group()
def event() -> None:
    """List events and look at one."""


@event.command("list")
@filter_options(EVENT_LIST)
@limit_option
@json_option
@csv_option
def list_(limit: int, as_json: bool, as_csv: bool, **chosen: Any) -> None:
    """List the newest events.

    Example: mailroom event list --tenant Acme --state failed --since 2h
    """
    from shared.db.reading.events import EventSummary

    with backend() as mailroom:
        found = mailroom.list_events(selection_from(chosen, EVENT_LIST), limit=limit)
    if print_rows(EventSummary, found, as_json=as_json, as_csv=as_csv):
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

    with backend() as mailroom:
        number = event_number(mailroom.find_events(evt, tenant=tenant, company=company), evt)
        if raw:
            click.echo(_body(mailroom, number), nl=False)
            return
        document = mailroom.event_document(number)
    if as_json:
        print_json(document)
    else:
        print_event(document)


def event_number(found: Sequence[EventSummary], evt: str) -> int:
    """Return the number of the one event. Raises NothingMatched, and UsageError where several have the id."""
    if not found:
        raise NothingMatched(f"there is no event {evt!r}; `mailroom event list` shows the newest")
    if len(found) > 1:
        several = ", ".join(f"{event.number} ({event.tenant or 'no tenant'}, {event.company_id})" for event in found)
        raise click.UsageError(f"{evt} is the id of several events: {several}; add --company, or use the number")
    return found[0].number


def _body(mailroom: Backend, number: int) -> bytes:
    body = mailroom.event_body(number)
    if body is None:
        raise NothingMatched("the body is no longer stored")
    return body
