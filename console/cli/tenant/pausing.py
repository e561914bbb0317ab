"""`mailroom tenant pause` and `resume`."""

from __future__ import annotations

import click


@click.command()
@click.argument("name")
def pause(name: str) -> None:
    """Hold a tenant's work back. Its deliveries are still received and recorded."""
    from console.cli.database import database, the_tenant
    from shared.db import tenants

    with database() as conn:
        changed = tenants.pause(conn, the_tenant(conn, name).id)
        cause = the_tenant(conn, name).parked_cause
    click.echo(f"paused {name}" if changed else f"{name} was {cause} already")


@click.command()
@click.argument("name")
def resume(name: str) -> None:
    """Let a paused tenant's work go on."""
    from console.cli.database import database, the_tenant
    from shared.db import tenants

    with database() as conn:
        changed = tenants.resume(conn, the_tenant(conn, name).id)
        cause = the_tenant(conn, name).parked_cause
    waits = f"; it still waits: {cause}" if cause else ""
    click.echo((f"resumed {name}" if changed else f"{name} was not paused") + waits)
