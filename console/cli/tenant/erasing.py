"""`mailroom tenant erase`: removes a tenant and everything of it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from console.cli.options import json_option

if TYPE_CHECKING:
    from console.erasing import Places
    from shared.db.core.pool import Connection
    from shared.db.tenants.erasing import Subject


@click.command()
@click.argument("name", required=False)
@click.option("--company", metavar="cmp_…", help="A company that no tenant has, instead of a tenant.")
@click.option("--confirm", metavar="NAME", help="The same name again, where nobody can be asked.")
@json_option
def erase(name: str | None, company: str | None, confirm: str | None, as_json: bool) -> None:
    """Remove a tenant for good: events, files, users, tokens, and what still waits to be recorded.

    What its company sends later is dropped and counted, until a tenant has that company again. Interrupted, it goes on
    when it is run again. Example: mailroom tenant erase Acme --confirm Acme
    """
    from console.cli.options import database
    from console.cli.output import print_json
    from shared.db.tenants import erasing

    with database() as conn:
        subject, called = _subject(conn, name, company)
        with conn.transaction():
            _tell(called, erasing.count_rows(conn, subject))
    _ask(called, confirm)
    removed = _erase(subject)
    if as_json:
        print_json({"erased": called, "company_id": subject.company_id, "removed": removed})
    else:
        _print(called, removed)
    _warn(subject.company_id)


def _subject(conn: Connection, name: str | None, company: str | None) -> tuple[Subject, str]:
    """Who is meant, and by what name to confirm it."""
    from console.cli.options import the_tenant
    from shared.db.tenants import tenants
    from shared.db.tenants.erasing import Subject

    if name is not None and company is None:
        found = the_tenant(conn, name)
        return Subject(tenant_id=found.id, company_id=found.company_id), found.name
    if company is None or name is not None:
        raise click.UsageError("name a tenant, or a company that no tenant has with --company")
    owner = tenants.find(conn, company)
    if owner is not None:
        raise click.UsageError(f"{company} belongs to the tenant {owner.name!r}; erase that one by its name")
    return Subject(tenant_id=None, company_id=company), company


def _tell(called: str, counts: dict[str, int]) -> None:
    from console.cli.output import say

    say(f"erase {called}, for good: " + (_spoken(counts) or "nothing of it is in the database"))
    say("and what waits of it in the intake, its files and its tokens")


def _ask(called: str, confirm: str | None) -> None:
    if confirm is None:
        if not sys.stdin.isatty():
            raise click.UsageError(f"nobody can be asked here: add --confirm {called!r}")
        confirm = click.prompt("type the name to go on", err=True)
    if confirm != called:
        raise click.UsageError(f"{confirm!r} is not {called!r}; nothing was changed")


def _erase(subject: Subject) -> dict[str, int]:
    from functools import partial

    from console.cli.output import progress, say
    from console.erasing import remove, wait_for_running
    from shared.db.tenants import erasing

    with ExitStack() as stack:
        places = _places(stack)
        subject = places.pool.run(partial(_mark, subject=subject))
        wait_for_running(places, subject, lambda running: say(f"waiting for {running} running tasks"))
        found = places.pool.run(partial(erasing.count_rows, subject=subject))
        rows = found.get("events", 0) + sum(found.get(table, 0) for table in places.pool.run(erasing.tenant_tables))
        with progress("erase", rows) as advance:
            return found | remove(places, subject, advance)


def _mark(conn: Connection, subject: Subject) -> Subject:
    from shared.db.tenants import erasing

    if subject.tenant_id is not None:
        return erasing.mark_tenant(conn, subject.tenant_id)
    return erasing.mark_company(conn, subject.company_id or "")


def _places(stack: ExitStack) -> Places:
    from console.erasing import Places
    from shared.connection.budget import Budget
    from shared.db.core.pool import open_pool
    from shared.intake.client import open_intake
    from shared.settings import load
    from shared.storage import Storage

    settings = load().require("database_url", "redis_url")
    pool = stack.enter_context(open_pool(settings, size=1, application_name="mailroom tenant erase"))
    intake = open_intake(settings)
    stack.callback(intake.close)
    budget = Budget.from_url(settings.redis_url.get_secret_value())
    return Places(pool=pool, intake=intake, budget=budget, storage=Storage(settings.storage))


def _print(called: str, removed: dict[str, int]) -> None:
    from console.cli.output import print_table

    click.echo(f"erased {called}")
    rows = [(what.replace("_", " "), f"{number:,}") for what, number in removed.items()]
    print_table(("what", "removed"), rows, right=("removed",))


def _warn(company_id: str | None) -> None:
    from console.cli.output import say

    if company_id is not None:
        say(
            f"Front sends webhooks of {company_id} until its admin removes the app there; they are dropped, and "
            "`mailroom status` counts them"
        )


def _spoken(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {table.replace('_', ' ')}" for table, number in counts.items())
