"""`./run bench NAME [--quick] [--json]`: measure how fast Mailroom is, beside others in the same run."""

from __future__ import annotations

import json
import sys

import click

from bench.catalogue import ALL, catalogue, combine, measure
from bench.results import keep, summary


@click.command()
@click.argument("name", required=False)
@click.option("--quick", is_flag=True, help="Measure at a size that a test can wait for; its ratios are rough.")
@click.option("--json", "as_json", is_flag=True, help="Print one object on stdout.")
@click.option("--keep", "keeping", is_flag=True, help="Add the result to docs/measured/bench.jsonl.")
@click.option("--list", "listing", is_flag=True, help="List the names and what each measures.")
def bench(name: str | None, quick: bool, as_json: bool, keeping: bool, listing: bool) -> None:
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
    results = []
    for each_name in known if name == ALL else [name]:
        results.append(measure(each_name, quick=quick))
        if keeping:
            keep(results[-1])
        if not as_json:
            click.echo(summary(results[-1]) + "\n")
    if as_json:
        click.echo(json.dumps(combine(results) if name == ALL else results[0]))
    sys.exit(1 if any(figures["broken"] for figures in results) else 0)


if __name__ == "__main__":
    bench()
