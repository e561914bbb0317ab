"""`mailroom listen`: follow the feed, and show what the host application gets."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.output import say
from shared.host.notification import TYPES, Cursor
from shared.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from console.cli.backend import Backend

WAIT_SECONDS = 20
LONGEST_SUBJECT = 60  # characters


@click.command()
@click.option("--tenant", metavar="T", help="Only this tenant: its name or company id.")
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES), help="Only this type; may be given again.")
@click.option("--after", default="latest", metavar="CURSOR", help="Begin after this position; else with the next one.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many.")
@click.option("--json", "as_json", is_flag=True, help="Print each body whole, as one line of JSON.")
def listen(tenant: str | None, types: tuple[str, ...], after: str, count: int | None, as_json: bool) -> None:
    """Follow the feed and show each notification as the host application gets it. Ctrl-C ends it.

    Example: mailroom listen --tenant Acme --type message.received
    """
    if after != "latest" and Cursor.parse(after) is None:
        raise click.UsageError(f"--after: {after!r} is no position of the feed; each line begins with one")
    with backend() as mailroom:
        found = _notifications(mailroom, after, tenant=tenant, types=",".join(types) or None)
        say("listening; Ctrl-C ends it")
        for body in itertools.islice(found, count):
            click.echo(json.dumps(body) if as_json else _line(body))


def _notifications(
    mailroom: Backend, after: str, *, tenant: str | None, types: str | None
) -> Iterator[Mapping[str, Any]]:
    while True:
        page = mailroom.feed_page(after, tenant=tenant, types=types, wait=WAIT_SECONDS)
        yield from page.messages
        after = page.next


def _line(body: Mapping[str, Any]) -> str:
    """Write a notification in one line: its position, time and type, and whom it is for."""
    data = body["data"]
    parts = [body["position"], body["timestamp"], body["type"], (data["tenant"] or {}).get("name", "-")]
    if message := data.get("message"):
        parts += [_for(data["users"]), repr(printable(message["subject"] or "")[:LONGEST_SUBJECT])]
        parts += [f"{len(data['attachments'])} files"] if data["attachments"] else []
    elif action := data.get("action"):
        parts.append(f"{action['kind']}: {action['reason']}")
    return "  ".join(printable(part) for part in parts)


def _for(users: list[str]) -> str:
    return f"for {', '.join(users)}" if users else "for nobody"
