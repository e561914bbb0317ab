"""`./run bench NAME [--quick] [--json]`: how fast Mailroom is, beside others in the same run."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime

import click

from bench.benchmark import Figures
from bench.catalogue import catalogue
from bench.kept import keep
from bench.machine import machine
from bench.shown import shown


@click.command()
@click.argument("name", required=False)
@click.option("--quick", is_flag=True, help="A size that a test can wait for; its ratios are rough.")
@click.option("--json", "as_json", is_flag=True, help="One object on stdout.")
@click.option("--keep", "keeping", is_flag=True, help="Add the result to docs/measured/bench.jsonl.")
@click.option("--list", "listing", is_flag=True, help="Show the names and what each measures.")
def bench(name: str | None, quick: bool, as_json: bool, keeping: bool, listing: bool) -> None:
    """Measure on this machine, with real servers and processes. Progress goes to stderr.

    Exits 1 when something happened that no speed excuses, 2 for a name that is not known.
    """
    known = catalogue()
    if listing:
        for each in known.values():
            click.echo(f"{each.name:<12} {each.measures}")
        return
    if name not in known:
        raise click.UsageError(f"name one of: {', '.join(known)}")
    figures = _measured(name, quick=quick)
    if keeping:
        keep(figures)
    click.echo(json.dumps(figures) if as_json else shown(figures))
    sys.exit(1 if figures["broken"] else 0)


def _measured(name: str, *, quick: bool) -> Figures:
    at, on = datetime.now(UTC).isoformat(timespec="seconds"), machine()
    figures = catalogue()[name].do(quick=quick)
    load_after = [round(load, 2) for load in os.getloadavg()]
    return {"name": name, "quick": quick, "at": at, **figures, "machine": on | {"load_average_after": load_after}}


if __name__ == "__main__":
    bench()
