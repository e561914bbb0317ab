"""The command line `mailroom`, with `mailroom up` and `mailroom migrate`.

The modules of the commands import databases, HTTP and tables inside their functions, so that `mailroom --help` answers
without them: in a tenth of the time.
"""

from __future__ import annotations

import click

from console.cli.address import address
from console.cli.admin import admin
from console.cli.api_token import api_token
from console.cli.audit import audit
from console.cli.backup import backup, restore
from console.cli.commands import RootGroup
from console.cli.doctor import doctor, health
from console.cli.endpoint import endpoint
from console.cli.event import event
from console.cli.forward import forward
from console.cli.inbox import inbox
from console.cli.job import job
from console.cli.keys import keys
from console.cli.listen import listen
from console.cli.options import ConsoleUrl, dry_run_option, require_no_remote
from console.cli.output import say
from console.cli.rejected import rejected
from console.cli.repair import repair
from console.cli.sandbox import sandbox
from console.cli.settings import settings
from console.cli.status import status
from console.cli.task import task
from console.cli.tenant import tenant
from console.cli.user import user


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=RootGroup.print_version,
    help="Show the version.",
)
@click.option(
    "--url",
    type=ConsoleUrl(),
    envvar="MAILROOM_URL",
    metavar="URL",
    help="Work with the console there, with MAILROOM_TOKEN. MAILROOM_URL says the same.",
)
def main(url: str | None) -> None:
    """Take Front's webhooks in, never lose one, and do the work behind them.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 nothing matched, 4 partly failed, 78 configuration.
    """


@click.command()
@click.option("--demo", is_flag=True, help="Add the sandbox, a tenant with users, and traffic.")
@click.pass_context
def up(ctx: click.Context, demo: bool) -> None:
    """Run all of Mailroom here, with embedded servers where no URL is set. Ctrl-C ends it.

    Example: mailroom up --demo
    """
    from console.up.up import up as run
    from shared.settings import load

    ctx.exit(run(demo, load().mailroom_data))


@click.command()
@dry_run_option
def migrate(dry_run: bool) -> None:
    """Bring the database schema up to date; safe to run twice, and from two releases at once.

    Says when the schema is newer than this release. Exits 1 if this release cannot work on it.

    Example: mailroom migrate --dry-run
    """
    from shared.db.core import migrate as runner
    from shared.db.core.session import operator_errors, session
    from shared.db.users.users import rekey_addresses
    from shared.settings import load

    require_no_remote()
    url = load("database_url").database_url.get_secret_value()
    with operator_errors():
        applied = runner.migrate(url, dry_run=dry_run)
    for migration in applied:
        click.echo(f"{'would apply' if dry_run else 'applied'} {migration.name}")
    with session(url) as conn:
        newer = runner.schema_state(conn).newer
    if newer:
        click.echo(f"the schema is newer than this release: it has {', '.join(newer)}")
    elif not applied:
        click.echo("the schema is up to date")
    if dry_run:
        return
    with session(url) as conn:
        runner.require_current(conn)
        if newer:
            click.echo("this release works on it, because those migrations only add")
        for twin in rekey_addresses(conn):
            say(
                f"tenant {twin.tenant}: an address of {twin.owner} is another spelling of one of {twin.holder}, which "
                "gets the mail; remove one of the two"
            )


for command in (up, migrate, status, rejected, doctor, health, settings, audit, listen, forward, backup, restore):
    main.add_command(command)
for group in (tenant, user, inbox, address, event, task, job, endpoint, repair, sandbox, keys, admin, api_token):
    main.add_command(group)
