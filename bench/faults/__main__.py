"""`./run faults [NAME …] [--full] [--json]`: inject faults, and check that nothing is lost or done twice."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

import click

from bench.faults.catalogue import catalogue, chosen
from bench.faults.run import perform_all

if TYPE_CHECKING:
    from bench.faults.run import Run


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--full", is_flag=True, help="Run the sizes of docs/reliability.md: minutes to an hour for each.")
@click.option("--json", "as_json", is_flag=True, help="Print one object a line on stdout.")
@click.option("--list", "listing", is_flag=True, help="List the names and what each guarantees.")
def faults(names: tuple[str, ...], full: bool, as_json: bool, listing: bool) -> None:
    """Inject faults into real servers and processes on this machine, and judge each by the small Front's ledger.

    Without a NAME all faults run; `notify` stands for all whose names begin with it. Exits 1 when a promise was broken,
    and 2 for an unknown name.
    """
    known = catalogue()
    try:
        runs = chosen(names or known)
    except KeyError as unknown:
        raise click.UsageError(f"no fault is called {unknown.args[0]}; there are: {', '.join(known)}") from None
    if listing:
        for run in runs:
            click.echo(f"{run.name:<22} {run.promise}")
        return
    if not (possible := [run for run in runs if not _is_left_out(run)]):
        sys.exit(1)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # lost connections are expected here
    broken = False
    for result in perform_all(possible, full=full):
        click.echo(json.dumps(result.as_json()) if as_json else result.as_line())
        sys.stdout.flush()
        broken |= not result.passed
    sys.exit(1 if broken else 0)


def _is_left_out(run: Run) -> bool:
    if reason := run.obstacle():
        click.echo(f"{run.name} is left out: {reason}", err=True)
    return reason is not None


if __name__ == "__main__":
    faults()
