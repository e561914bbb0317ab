"""The `mailroom` command: what an operator does without a browser."""

from __future__ import annotations

import click

from console.cli.api_token import api_token
from console.cli.commands import Commands
from console.cli.doctor import doctor
from console.cli.event import event
from console.cli.inbox import inbox
from console.cli.keys import keys
from console.cli.repair import repair
from console.cli.running import migrate, up
from console.cli.sandbox import sandbox
from console.cli.status import status
from console.cli.task import task
from console.cli.tenant import tenant
from console.cli.user import user


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=Commands.show_version,
    help="Show the version.",
)
def main() -> None:
    """Take Front's webhooks in, never lose one, and do the work behind them.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 nothing matched, 4 partly failed, 78 configuration.
    """


for command in (up, migrate, status, doctor, tenant, user, inbox, event, task, repair, sandbox, keys, api_token):
    main.add_command(command)
