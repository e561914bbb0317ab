"""`mailroom user deactivate`, `activate` and `policy`: what people decide about one user."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from console.cli.options import tenant_option

if TYPE_CHECKING:
    from shared.db.pool import Connection


@click.command()
@click.argument("external_id")
@tenant_option
def deactivate(external_id: str, tenant: str) -> None:
    """Match nobody with a user any more. What was matched before keeps its reason; no sync takes this back."""
    from shared.db import users

    _change(tenant, external_id, users.deactivate)
    click.echo(f"deactivated {external_id}")


@click.command()
@click.argument("external_id")
@tenant_option
def activate(external_id: str, tenant: str) -> None:
    """Match a user again. The next sync sets inactive whoever is blocked in Front."""
    from shared.db import users

    _change(tenant, external_id, users.activate)
    click.echo(f"activated {external_id}")


@click.command()
@click.argument("external_id")
@tenant_option
@click.option("--action", metavar="none|archive|trash|tag:ID", help="In place of the tenant's.")
@click.option("--no-action", is_flag=True, help="The tenant's action again.")
def policy(external_id: str, tenant: str, action: str | None, no_action: bool) -> None:
    """Choose what is done with a user's mail from now on. Lists without the column and syncs keep the choice.

    Example: mailroom user policy tea_b7x2c --tenant Acme --action archive
    """
    from shared.actions import checked_action
    from shared.db import users

    if (action is None) != no_action:
        raise click.UsageError("say either --action ACTION or --no-action")
    chosen = None if action is None else checked_action(action)
    _change(tenant, external_id, lambda conn, tenant_id, user: users.choose_action(conn, tenant_id, user, chosen))
    click.echo(f"{external_id}: {chosen or 'the action of the tenant'}")


def _change(tenant: str, external_id: str, change: Callable[[Connection, int, str], bool]) -> None:
    from console.cli.database import database, no_such_user, the_tenant

    with database() as conn:
        if not change(conn, the_tenant(conn, tenant).id, external_id):
            raise no_such_user(external_id)
