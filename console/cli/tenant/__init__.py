"""`mailroom tenant`: adds and connects tenants, sets their policy, pauses and erases them."""

from __future__ import annotations

import click

from console.cli.tenant.connecting import add, connect
from console.cli.tenant.erasing import erase
from console.cli.tenant.manage import list_, pause, resume, show
from console.cli.tenant.policy import policy
from console.cli.tenant.syncing import sync_inboxes, sync_teammates


@click.group()
def tenant() -> None:
    """Add, connect and steer tenants."""


for command in (add, list_, show, connect, policy, pause, resume, sync_teammates, sync_inboxes, erase):
    tenant.add_command(command)
