"""`mailroom event`: list events, show everything known of one, and run one again from a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.commands import NothingMatched
from console.cli.options import (
    csv_option,
    dry_run_option,
    filter_options,
    json_option,
    limit_option,
    selection_from,
    yes_option,
)
from console.cli.output import confirm, print_json, print_rows, print_table, say, say_if_empty
from console.filter_words import EVENT_LIST
from console.run_again import STEPS
from console.times import format_short_time
from shared.errors import BodyGone, MailroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.cli.backend import Backend
    from console.run_again import Step
    from shared.db.reading.events import EventSummary


@click.group()
def event() -> None:
    """List events, look at one, or run one again."""


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
@click.option("--raw", "form", flag_value="raw", help="Print the body as Front sent it, byte for byte.")
@click.option("--curl", "form", flag_value="curl", help="Print a command that sends the body to the door, signed now.")
@click.option("--fixture", "form", flag_value="fixture", help="Print what `mailroom sandbox send --body` sends.")
@json_option
def show(evt: str, tenant: str | None, company: str | None, form: str | None, as_json: bool) -> None:
    """Show everything known of an event, by Front's id, our number or the id of a delivery.

    Addresses are shown, the body only with --raw and --curl; --fixture has example addresses. The audit says who looked
    at a body. Example: mailroom event show evt_4rk1x0bw
    """
    from console.cli.event.page import print_event

    with backend() as mailroom:
        number = event_number(mailroom.find_events(evt, tenant=tenant, company=company), evt)
        if form:
            _print_body(mailroom, number, form)
            return
        document = mailroom.event_document(number)
    if as_json:
        print_json(document)
    else:
        print_event(document)


@event.command("run-again")
@click.argument("evt")
@click.option("--from", "step", required=True, type=click.Choice(STEPS), help="The step; those after it follow.")
@click.option("--file", metavar="fil_…", help="Of store_attachment: the only file to store again.")
@click.option("--tenant", metavar="T", help="The event's tenant, where two companies have the same id.")
@click.option("--company", metavar="cmp_…", help="The same, by company id.")
@dry_run_option
@yes_option
def run_again(evt: str, step: Step, dry_run: bool, yes: bool, **chosen: str | None) -> None:
    """Run an event again from a step on: steps before it keep their results.

    A change that Front has is never sent twice. Example: mailroom event run-again evt_4rk1x0bw --from record
    """
    with backend() as mailroom:
        number = event_number(mailroom.find_events(evt, tenant=chosen["tenant"], company=chosen["company"]), evt)
        document = mailroom.event_document(number)
        _say_effects(document, step, chosen["file"])
        if dry_run:
            return
        confirm(f"run {evt} again from {step}?", yes=yes)
        mailroom.run_event_again(number, step=step, file=chosen["file"], version=document["version"])
    say(f"{evt} runs again; `mailroom event show {evt}` shows how far it is")


def _say_effects(document: dict[str, Any], step: Step, file: str | None) -> None:
    """Say what the run would do. Raises NothingMatched without such a file, and an error if something is in the way."""
    runs = [each for each in document["possible_runs"] if each["from"] == step]
    run = next((each for each in runs if file in {None, each["file"]}), None)
    if run is None:
        raise NothingMatched(f"the event has no file {file}; `mailroom event show` lists its files")
    if run["why_not"]:
        raise click.ClickException(f"it cannot run again from {step}: {run['why_not']}")
    for effect in run["effects"]:
        say(f"  {effect}")


def event_number(found: Sequence[EventSummary], evt: str) -> int:
    """Return the number of the one event. Raises NothingMatched, and UsageError where several have the id."""
    if not found:
        raise NothingMatched(f"there is no event {evt!r}; `mailroom event list` shows the newest")
    if len(found) > 1:
        several = ", ".join(f"{event.number} ({event.tenant or 'no tenant'}, {event.company_id})" for event in found)
        raise click.UsageError(f"{evt} is the id of several events: {several}; add --company, or use the number")
    return found[0].number


def _print_body(mailroom: Backend, number: int, form: str) -> None:
    """Print the body as it is, or a copy of it. Raises NothingMatched when it is no longer stored."""
    try:
        if form == "raw":
            click.echo(mailroom.event_body(number), nl=False)
        elif form == "curl":
            click.echo(mailroom.event_curl(number))
        else:
            print_json(mailroom.event_fixture(number))
    except MailroomError as error:
        if error.code != BodyGone.code:
            raise
        raise NothingMatched("the body is no longer stored") from None
