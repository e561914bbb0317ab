"""`mailroom rejected`: the requests that the door did not take, by reason, and the last ones of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from console.cli.backend import backend
from console.cli.options import json_option
from console.cli.output import print_json, print_table, say_if_empty
from console.times import format_time

if TYPE_CHECKING:
    from console.rejected import RejectedReason

SHOWN = 3  # samples of each reason; --json has all


@click.command()
@json_option
def rejected(as_json: bool) -> None:
    """Show the requests that the door rejected in the last 24 hours, by reason.

    Of each reason the last requests are shown: from which network, and what was wrong. Example: mailroom rejected
    """
    with backend() as mailroom:
        found = mailroom.rejected()
    if as_json:
        print_json(found)
        return
    print_table(
        ("REASON", "LAST HOUR", "24 HOURS", "WHAT TO DO"),
        [(each.reason, f"{each.last_hour:,}", f"{each.last_day:,}", each.what_to_do) for each in found.reasons],
        right=("LAST HOUR", "24 HOURS"),
        unwrapped=("REASON",),
    )
    say_if_empty(found.reasons, "rejected requests")
    if found.reasons:
        _print_samples(found.reasons)


def _print_samples(reasons: list[RejectedReason]) -> None:
    click.echo()
    rows = [
        (format_time(sample.at), each.reason, sample.status, sample.network, sample.size, sample.detail)
        for each in reasons
        for sample in each.samples[:SHOWN]
    ]
    print_table(("AT (UTC)", "REASON", "ANSWER", "FROM", "BYTES", "WHAT WAS WRONG"), rows, right=("BYTES",))
