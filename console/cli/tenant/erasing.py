"""`mailroom tenant erase`: remove a tenant and everything of it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import click

from console.cli.options import database, find_tenant, json_option
from console.cli.output import count_progress, print_json, print_table, say

if TYPE_CHECKING:
    from console.erasing import Stores
    from shared.db.core.pool import Connection
    from shared.db.tenants.erasing import Subject


@click.command()
@click.argument("name", required=False)
@click.option("--company", metavar="cmp_…", help="A company that no tenant has, instead of a tenant.")
@click.option("--confirm", metavar="NAME", help="The same name again, where nobody can be asked.")
@json_option
def erase(name: str | None, company: str | None, confirm: str | None, as_json: bool) -> None:
    """Remove a tenant for good: events, files, users, tokens, and deliveries that wait to be recorded.

    Later deliveries of its company are dropped and counted, until a tenant has that company again. After an
    interruption run it again: it goes on. Example: mailroom tenant erase Acme --confirm Acme
    """
    from shared.db.tenants import erasing

    with database() as conn:
        subject, subject_name = _subject(conn, name, company)
        with conn.transaction():
            _print_plan(subject_name, erasing.count_rows(conn, subject))
    _check_confirmation(subject_name, confirm)
    removed = _erase(subject)
    if as_json:
        print_json({"erased": subject_name, "company_id": subject.company_id, "removed": removed})
    else:
        _print(subject_name, removed)
    _print_warning(subject.company_id)


def _subject(conn: Connection, name: str | None, company: str | None) -> tuple[Subject, str]:
    """Return the tenant or company to erase, and the name that confirms it."""
    from shared.db.tenants import tenants
    from shared.db.tenants.erasing import Subject

    if name is not None and company is None:
        tenant = find_tenant(conn, name)
        return Subject(tenant_id=tenant.id, company_id=tenant.company_id), tenant.name
    if company is None or name is not None:
        raise click.UsageError("name a tenant, or a company that no tenant has with --company")
    owner = tenants.find(conn, company)
    if owner is not None:
        raise click.UsageError(f"{company} belongs to the tenant {owner.name!r}; erase that one by its name")
    return Subject(tenant_id=None, company_id=company), company


def _print_plan(subject_name: str, counts: dict[str, int]) -> None:
    found = ", ".join(f"{number:,} {table.replace('_', ' ')}" for table, number in counts.items())
    say(f"erase {subject_name}, for good: " + (found or "nothing of it is in the database"))
    say("and its waiting deliveries, its files and its tokens")


def _check_confirmation(subject_name: str, confirm: str | None) -> None:
    if confirm is None:
        if not sys.stdin.isatty():
            raise click.UsageError(f"nobody can be asked here: add --confirm {subject_name!r}")
        confirm = click.prompt("type the name to go on", err=True)
    if confirm != subject_name:
        raise click.UsageError(f"{confirm!r} is not {subject_name!r}; nothing was changed")


def _erase(subject: Subject) -> dict[str, int]:
    """Erase the subject, and return the number of things removed, by kind."""
    from console.erasing import erase_everything, wait_for_running_tasks
    from shared.db.tenants import erasing

    with ExitStack() as stack:
        stores = _open_stores(stack)
        subject = stores.pool.run(partial(_mark, subject=subject))
        wait_for_running_tasks(stores, subject, lambda running: say(f"waiting for {running} running tasks"))
        found = stores.pool.run(partial(erasing.count_rows, subject=subject))
        rows = found.get("events", 0) + sum(found.get(table, 0) for table in stores.pool.run(erasing.tenant_tables))
        with count_progress("erase", rows) as advance:
            return found | erase_everything(stores, subject, advance)


def _open_stores(stack: ExitStack) -> Stores:
    from console.erasing import Stores
    from shared.connection.budget import Budget
    from shared.db.core.pool import open_pool
    from shared.intake.client import open_intake
    from shared.settings import load
    from shared.storage import Storage

    settings = load("database_url", "redis_url", "storage_url")
    pool = stack.enter_context(open_pool(settings, size=1, application_name="mailroom tenant erase"))
    intake = open_intake(settings)
    stack.callback(intake.close)
    budget = Budget.from_url(settings.redis_url.get_secret_value())
    return Stores(pool=pool, intake=intake, budget=budget, storage=Storage(settings.storage))


def _mark(conn: Connection, subject: Subject) -> Subject:
    from shared.db.tenants import erasing

    if subject.tenant_id is not None:
        return erasing.mark_tenant(conn, subject.tenant_id)
    return erasing.mark_company(conn, subject.company_id or "")


def _print(subject_name: str, removed: dict[str, int]) -> None:
    click.echo(f"erased {subject_name}")
    rows = [(what.replace("_", " "), f"{number:,}") for what, number in removed.items()]
    print_table(("what", "removed"), rows, right=("removed",))


def _print_warning(company_id: str | None) -> None:
    if company_id is not None:
        say(
            f"Front sends webhooks of {company_id} until its admin removes the app there; they are dropped, and "
            "`mailroom status` counts them"
        )
