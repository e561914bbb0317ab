"""`mailroom user`: add, import and change the users that a tenant's mail is matched with."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.backend import backend
from console.cli.commands import PARTLY_FAILED
from console.cli.options import dry_run_option, json_option, limit_option, tenant_option
from console.cli.output import print_json, print_table, say
from shared.actions import validated_action

if TYPE_CHECKING:
    from console.cli.user.importing import Mistakes

InFile = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
OutFile = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.group()
def user() -> None:
    """Add, list, import and change users."""


@user.command()
@click.argument("external_id")
@tenant_option
def deactivate(external_id: str, tenant: str) -> None:
    """Match no more mail with a user. Earlier matches keep their reason; no sync takes this back."""
    with backend() as mailroom:
        mailroom.set_user_active(mailroom.tenant(tenant).id, external_id, active=False)
    click.echo(f"deactivated {external_id}")


@user.command()
@click.argument("external_id")
@tenant_option
def activate(external_id: str, tenant: str) -> None:
    """Match a user again. The next sync deactivates a user who is blocked in Front."""
    with backend() as mailroom:
        mailroom.set_user_active(mailroom.tenant(tenant).id, external_id, active=True)
    click.echo(f"activated {external_id}")


@user.command()
@click.argument("external_id")
@tenant_option
@click.option("--action", metavar="none|archive|trash|tag:ID", help="In place of the tenant's.")
@click.option("--no-action", is_flag=True, help="The tenant's action again.")
def policy(external_id: str, tenant: str, action: str | None, no_action: bool) -> None:
    """Choose what is done with a user's mail from now on. Syncs, and lists without an action column, keep it.

    Example: mailroom user policy tea_b7x2c --tenant Acme --action archive
    """
    if (action is None) != no_action:
        raise click.UsageError("say either --action ACTION or --no-action")
    chosen = None if action is None else validated_action(action)
    with backend() as mailroom:
        mailroom.set_user_action(mailroom.tenant(tenant).id, external_id, chosen)
    click.echo(f"{external_id}: {chosen or 'the action of the tenant'}")


@user.command()
@tenant_option
@click.option("--id", "external_id", required=True, help="Your own id of this user.")
@click.option("--name", required=True)
@click.option("--email", "emails", required=True, multiple=True, help="An address; may be given several times.")
@click.option("--action", default="", metavar="none|archive|trash|tag:ID", help="In place of the tenant's.")
def add(tenant: str, external_id: str, name: str, emails: tuple[str, ...], action: str) -> None:
    """Add one user.

    Example: mailroom user add --tenant Acme --id 17 --name "Nora Lind" --email nora@acme.example
    """
    from console.user_validation import validated_user

    new_user = validated_user(external_id, name, emails, action)
    with backend() as mailroom:
        mailroom.add_user(mailroom.tenant(tenant).id, new_user)
    click.echo(f"added {new_user.external_id}")


@user.command("list")
@tenant_option
@limit_option
@json_option
def list_(tenant: str, limit: int, as_json: bool) -> None:
    """List a tenant's users by id."""
    with backend() as mailroom:
        found = mailroom.list_users(mailroom.tenant(tenant).id, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [(u.external_id, u.name, ", ".join(u.addresses), u.action, None if u.active else "inactive") for u in found]
    print_table(("id", "name", "addresses", "action", ""), rows)


@user.command("import")
@click.argument("file", type=InFile)
@tenant_option
@dry_run_option
@click.option("--move-addresses", "move", is_flag=True, help="Take addresses from users whom the file does not name.")
@click.option("--errors", "errors_file", type=OutFile, help="Write all wrong lines to this file.")
@json_option
@click.pass_context
def import_(  # noqa: PLR0913, PLR0917 -- one parameter an option
    ctx: click.Context, file: Path, tenant: str, dry_run: bool, move: bool, errors_file: Path | None, as_json: bool
) -> None:
    """Add and change users from a CSV file with the columns external_id,name,email[,email…][,action][,active].

    FILE may be a pipe, or - for stdin.

    A line replaces its user's addresses; `active` is yes or no, and empty changes nothing. Wrong lines are printed with
    their numbers (exit code 4), all others go in. Users whom the file does not name stay.
    Example: mailroom user import people.csv --tenant Acme --dry-run
    """
    from console.cli.user.importing import Mistakes

    with ExitStack() as stack:
        errors = stack.enter_context(errors_file.open("w", encoding="utf-8")) if errors_file else None
        mistakes = Mistakes(file=errors)
        mailroom = stack.enter_context(backend())
        tenant_id = mailroom.tenant(tenant).id
        outcomes = mailroom.import_users(tenant_id, file, mistakes, move=move, dry_run=dry_run)
    counts = {name: outcomes.get(name, 0) for name in ("added", "changed", "unchanged", "moved")}
    counts["invalid"] = len(mistakes.lines)
    _print_mistakes(mistakes, errors_file)
    if as_json:
        print_json({**counts, "dry_run": dry_run})
    else:
        click.echo(("would be: " if dry_run else "") + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    if mistakes.lines:
        ctx.exit(PARTLY_FAILED)


def _print_mistakes(mistakes: Mistakes, errors_file: Path | None) -> None:
    for line, what in mistakes.first:
        say(f"line {line}: {what}")
    more = len(mistakes.lines) - len({line for line, _ in mistakes.first})
    if more:
        where = f"all are in {errors_file}" if errors_file else "--errors FILE writes all"
        say(f"and {more:,} more wrong lines; {where}")
