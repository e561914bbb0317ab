"""`mailroom address`: export what is held of one e-mail address, and erase it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.commands import PARTLY_FAILED, NothingMatched
from console.cli.options import json_option, limit_option
from console.cli.output import print_json, print_pairs, print_table, say, say_if_empty
from console.times import format_short_time, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.cli.backend import Backend
    from console.operations.addresses import ErasureProgress

POLL_SECONDS = 0.5
#: Without a worker or a sweeper, nobody waits longer than this for an erasure to go on.
PATIENCE_SECONDS = 5.0
OUTCOMES = {
    "cut": "events lost their content",
    "masked": "events and rows have a mask in its place",
    "deleted": "rows were deleted",
    "open": "events wait for a task that runs",
}
#: The document of an export, in its folder.
DOCUMENT, FILES = "export.json", "files"

address_argument = click.argument("email", metavar="EMAIL")
tenant_option = click.option("--tenant", metavar="T", help="Only what this tenant has (name or company id).")
number_argument = click.argument("number", type=int, metavar="ERASURE")


@click.group()
def address() -> None:
    """Export or erase all that is held of one e-mail address, for somebody who asks for it."""


@address.command()
@address_argument
@tenant_option
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write it, with files, into a new folder."
)
def export(email: str, tenant: str | None, output: Path | None) -> None:
    """Print all that is held of an address as one JSON document: users, rows, events with bodies and notifications.

    Every event is read for it, so it takes its time. Example: mailroom address export jane@example.com --output jane
    """
    with backend() as mailroom:
        tenant_id = mailroom.tenant(tenant).id if tenant else None
        pieces = mailroom.export_address(email, tenant_id)
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        document = _write_document(output, pieces)
        missing = _write_files(mailroom, output, document)
    click.echo(f"{len(document['events']):,} events, in {output / DOCUMENT}")
    if missing:
        say(f"{missing:,} files are not stored, or deleted already")


@address.command()
@address_argument
@tenant_option
@click.option("--confirm", metavar="EMAIL", help="The same address again, where nobody can be asked.")
@click.option("--no-wait", is_flag=True, help="Return at once; `mailroom address show` says how far it is.")
@json_option
def erase(email: str, tenant: str | None, confirm: str | None, no_wait: bool, as_json: bool) -> None:
    """Erase an address from all that was received until now.

    Messages that it wrote or got lose their content and files; elsewhere a mask takes its place. Rows and actions stay,
    so that nothing is done twice. Later mail is kept as before. Workers carry it out.

    Example: mailroom address erase jane@example.com --confirm jane@example.com
    """
    _check_confirmation(email, confirm)
    with backend() as mailroom:
        tenant_id = mailroom.tenant(tenant).id if tenant else None
        number = mailroom.erase_address(email, tenant_id)
        found = _find(mailroom, number) if no_wait else _wait(mailroom, number)
    _print(found, as_json=as_json)
    if not no_wait and found.erasure.state != "done":
        say(f"erasure {number} waits; `mailroom address show {number}` says how far it is")
        click.get_current_context().exit(PARTLY_FAILED)


@address.command("list")
@limit_option
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List the latest erasures. Each has the mask that stands in place of its address."""
    with backend() as mailroom:
        found = mailroom.list_erasures(limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (e.id, format_short_time(e.requested_at), e.mask, e.tenant or "every tenant", e.state, e.requested_by)
        for e in found
    ]
    columns = ("erasure", "asked (UTC)", "mask", "tenant", "state", "by")
    print_table(columns, rows, right=("erasure",), unwrapped=("erasure", "asked (UTC)", "state"))
    say_if_empty(found, "erasures")


@address.command()
@number_argument
@json_option
def show(number: int, as_json: bool) -> None:
    """Show an erasure: how far it is, and what it did."""
    with backend() as mailroom:
        found = _find(mailroom, number)
    _print(found, as_json=as_json)


@address.command()
@number_argument
@limit_option
@json_option
def items(number: int, limit: int, as_json: bool) -> None:
    """List the events and tables that had the address, with what became of each."""
    with backend() as mailroom:
        _find(mailroom, number)
        found = mailroom.erased_places(number, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [(item.place, item.count, item.outcome or "open") for item in found]
    print_table(("place", "count", "outcome"), rows, right=("count",))
    say_if_empty(found, "places with the address")


def _write_document(folder: Path, pieces: Iterator[bytes]) -> dict[str, Any]:
    """Write the document into the new folder, which only its owner may read, and return it."""
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be made ({error.strerror}); name a folder that is not there") from None
    path = folder / DOCUMENT
    path.touch(mode=0o600)
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _write_files(mailroom: Backend, folder: Path, document: dict[str, Any]) -> int:
    """Write the files of the address's own messages, and return the number of those that are not there."""
    from console.attachment_content import safe_filename
    from shared.errors import MailroomError

    (folder / FILES).mkdir(mode=0o700)
    missing = 0
    for event in document["events"]:
        for file in event["event"]["attachments"] if event["is_party"] else ():
            path = folder / FILES / f"{file['number']} {safe_filename(file['filename'])}"
            try:
                pieces = mailroom.file_content(file["number"])
                path.write_bytes(b"".join(pieces))
            except MailroomError:
                missing += 1
    return missing


def _check_confirmation(email: str, confirm: str | None) -> None:
    if confirm is None:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here: add --confirm with the same address")
        confirm = click.prompt("type the address to go on", err=True)
    if confirm != email:
        raise click.UsageError("the two addresses differ; nothing was changed")


def _wait(mailroom: Backend, number: int) -> ErasureProgress:
    """Wait until the erasure has ended, or goes on no more because no process does it."""
    before, quiet_since = _find(mailroom, number), time.monotonic()
    while before.erasure.state != "done":
        time.sleep(POLL_SECONDS)
        found = _find(mailroom, number)
        if found != before:
            before, quiet_since = found, time.monotonic()
        is_quiet = time.monotonic() - quiet_since > PATIENCE_SECONDS
        if is_quiet and not {"worker", "sweeper"} <= mailroom.running_kinds():
            say("no worker and sweeper run that would carry it out")
            break
    return before


def _print(found: ErasureProgress, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    erasure = found.erasure
    pairs = [
        ("erasure", erasure.id),
        ("mask", erasure.mask),
        ("tenant", erasure.tenant or "every tenant"),
        ("state", erasure.state),
        ("asked by", erasure.requested_by),
        ("asked", format_time(erasure.requested_at)),
        ("ended", erasure.ended_at and format_time(erasure.ended_at)),
        *((OUTCOMES[name], f"{count:,}") for name, count in found.outcomes.items()),
    ]
    print_pairs((name, value) for name, value in pairs if value is not None)


def _find(mailroom: Backend, number: int) -> ErasureProgress:
    found = mailroom.erasure(number)
    if found is None:
        raise NothingMatched(f"there is no erasure {number}; `mailroom address list` shows the latest")
    return found
