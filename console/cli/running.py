"""`mailroom up` and `mailroom migrate`: starts everything here, brings the schema up to date."""

from __future__ import annotations

import click

from console.cli.options import dry_run_option


@click.command()
@click.option("--demo", is_flag=True, help="Add the sandbox, a tenant with users, and traffic.")
@click.pass_context
def up(ctx: click.Context, demo: bool) -> None:
    """Run all of Mailroom here, with embedded servers where no URL is set. Ctrl-C ends it.

    Example: mailroom up --demo
    """
    from console.up import up as run
    from shared.settings import load

    ctx.exit(run(demo, load().mailroom_data))


@click.command()
@dry_run_option
def migrate(dry_run: bool) -> None:
    """Bring the database schema up to date; safe to run twice, and from two releases at once.

    Example: mailroom migrate --dry-run
    """
    from shared.db import migrate as runner
    from shared.db.session import told_to_operator
    from shared.settings import load

    settings = load().require("database_url")
    with told_to_operator():
        applied = runner.migrate(settings.database_url.get_secret_value(), dry_run=dry_run)
    for migration in applied:
        click.echo(f"{'would apply' if dry_run else 'applied'} {migration.name}")
    if not applied:
        click.echo("the schema is up to date")
