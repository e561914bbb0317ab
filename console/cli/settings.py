"""`mailroom settings`: with which settings a command or process runs here."""

from __future__ import annotations

import click

from console.cli.options import json_option
from console.cli.output import print_json, print_table


@click.command()
@json_option
def settings(as_json: bool) -> None:
    """Show every setting, its value and where it comes from; of a secret only whether it is set."""
    from console.shown_settings import shown_settings
    from shared.settings import load

    found = shown_settings(load())
    if as_json:
        print_json(found)
        return
    print_table(("setting", "value", "from"), [(each.name, each.value, each.source) for each in found])
