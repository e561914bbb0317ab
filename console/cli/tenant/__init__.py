"""`mailroom tenant`: add and connect tenants, set their policy, pause and erase them."""

from __future__ import annotations

import click

from console.cli.tenant.connecting import add, connect
from console.cli.tenant.erasing import erase
from console.cli.tenant.overview import journal, list_, show
from console.cli.tenant.policy import pause, policy, resume
from console.cli.tenant.syncing import sync_inboxes, sync_teammates


@click.group()
def tenant() -> None:
    """Add, connect and configure tenants."""


for command in (add, list_, show, journal, connect, policy, pause, resume, sync_teammates, sync_inboxes, erase):
    tenant.add_command(command)
