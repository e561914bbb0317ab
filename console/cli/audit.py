"""`mailroom audit`: who asked for which change or look, and whether it was allowed."""

from __future__ import annotations

import click

from console.cli.backend import backend
from console.cli.options import csv_option, json_option, limit_option
from console.cli.output import print_rows, print_table, say_if_empty
from console.times import format_time

ANSWERS = {"allowed": True, "refused": False}


@click.command()
@click.option("--who", metavar="NAME", help="Only of this account, token or command.")
@click.option("--verb", metavar="VERB", help="Only with this verb, as in retry.")
@click.option("--answer", type=click.Choice(tuple(ANSWERS)), help="Only what was allowed, or only what was refused.")
@limit_option
@json_option
@csv_option
def audit(  # noqa: PLR0913, PLR0917 -- one parameter an option
    who: str | None, verb: str | None, answer: str | None, limit: int, as_json: bool, as_csv: bool
) -> None:
    """List who asked for which change or look, the latest first.

    Example: mailroom audit --verb export --answer refused
    """
    from shared.db.accounts.audit import AuditEntry

    with backend() as mailroom:
        found = mailroom.list_audit(who=who, verb=verb, allowed=ANSWERS.get(answer or ""), limit=limit)
    if print_rows(AuditEntry, found, as_json=as_json, as_csv=as_csv):
        return
    rows = [
        (format_time(e.at), e.who, e.via, e.verb if e.allowed else f"{e.verb} (refused)", e.target, e.tenant, e.detail)
        for e in found
    ]
    columns = ("at (UTC)", "who", "via", "what", "on", "tenant", "detail")
    print_table(columns, rows, unwrapped=("at (UTC)",))
    say_if_empty(found, "such entries")
