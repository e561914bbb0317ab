"""`./run bench NAME [--quick] [--json]`: measure how fast Mailroom is, beside others in the same run."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from bench.catalogue import ALL, catalogue, combine, measure
from bench.record.benchmark import RECORD
from bench.record.recorders import recorders
from bench.results import keep, summary
from shared.intake.streams import MOST_STREAMS

if TYPE_CHECKING:
    from bench.harness.benchmark import Measure


@click.command()
@click.argument("name", required=False)
@click.option("--quick", is_flag=True, help="Measure at a size that a test can wait for; its ratios are rough.")
@click.option("--json", "as_json", is_flag=True, help="Print one object on stdout.")
@click.option("--keep", "keeping", is_flag=True, help="Add the result to docs/measured/bench.jsonl.")
@click.option("--recorders", "counts", metavar="N,N,…", help="With record: compare these numbers of recorders instead.")
@click.option("--list", "listing", is_flag=True, help="List the names and what each measures.")
def bench(  # noqa: PLR0913, PLR0917 -- each is an option
    name: str | None, quick: bool, as_json: bool, keeping: bool, counts: str | None, listing: bool
) -> None:
    """Measure on this machine, with real servers and processes; NAME is one of --list. Progress goes to stderr.

    Exits 1 when a guarantee was violated, whatever the speed, and 2 for an unknown name.
    """
    known = catalogue()
    if listing:
        for each in known.values():
            click.echo(f"{each.name:<12} {each.measures}")
        click.echo(f"{ALL:<12} one after the other")
        return
    if name not in {*known, ALL}:
        raise click.UsageError(f"name one of: {', '.join([*known, ALL])}")
    run = _with_recorders(name, counts) if counts else None
    results = []
    for each_name in known if name == ALL else [name]:
        results.append(measure(each_name, quick=quick, run=run))
        if keeping:
            keep(results[-1])
        if not as_json:
            click.echo(summary(results[-1]) + "\n")
    if as_json:
        click.echo(json.dumps(combine(results) if name == ALL else results[0]))
    sys.exit(1 if any(figures["broken"] for figures in results) else 0)


def _with_recorders(name: str | None, counts: str) -> Measure:
    if name != RECORD.name:
        raise click.UsageError("--recorders goes with record")
    numbers = [int(each) if each.isdigit() else 0 for each in counts.split(",")]
    if not all(0 < each <= MOST_STREAMS for each in numbers):
        raise click.UsageError(f"--recorders is a list of numbers from 1 to {MOST_STREAMS}, as 1,2,4")
    return partial(recorders, numbers)


if __name__ == "__main__":
    bench()
