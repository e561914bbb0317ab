"""`mailroom tenant policy`: what is done with a tenant's conversations."""

from __future__ import annotations

from typing import Any

import click

from console.cli.options import Duration


@click.command()
@click.argument("name")
@click.option("--action", metavar="none|archive|trash|tag:ID", help="What is done to a conversation at the end.")
@click.option("--wait-for", type=click.Choice(("stored", "settled")), help="Which files an archive or tag waits for.")
@click.option("--only-when-matched/--always", default=None, help="Whether a recipient must be a user.")
@click.option("--fold-plus/--no-fold-plus", default=None, help="Whether jane+bills@… is jane@….")
@click.option("--act-within", type=Duration(), help="Act only on events younger than this.")
def policy(name: str, action: str | None, **parts: Any) -> None:
    """Set what is done with a tenant's future events; without an option show it.

    Example: mailroom tenant policy Acme --action archive --act-within 7d
    """
    from console.cli.database import database, the_tenant
    from console.cli.tenant.showing import print_tenant
    from shared.actions import checked_action, refuse_hasty_trash
    from shared.db import tenants

    change = tenants.PolicyChange(action=None if action is None else checked_action(action), **parts)
    with database() as conn, conn.transaction():
        found = the_tenant(conn, name)
        refuse_hasty_trash(change.action or found.action, change.wait_for or found.wait_for)
        tenants.set_policy(conn, found.id, change)
        print_tenant(the_tenant(conn, name))
