"""`mailroom tenant list`, `tenant show` and `tenant journal`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.options import json_option, limit_option
from console.cli.output import print_json, print_pairs, print_table
from console.times import format_duration, format_time
from shared.models import QUOTAS
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.db.tenants.tenants import JournalEntry, TenantOverview

WAITS = {
    "stored": "stored: until every file of the conversation is stored",
    "settled": "settled: until no file of the conversation is under way any more; trash waits until all are stored",
}


@click.command("list")
@click.option("--customer", metavar="ID", help="Only the tenants of this customer, by your own id of it.")
@json_option
def list_(customer: str | None, as_json: bool) -> None:
    """List all tenants, or those of a customer: one for each of its Front companies."""
    from shared.db.tenants import tenants

    with backend() as mailroom:
        found = mailroom.list_tenants(customer and clean(customer, tenants.LONGEST_NAME))
    if as_json:
        print_json([{**asdict(each), "parked_tasks": waiting} for each, waiting in found])
        return
    rows = [
        (t.name, t.company_id, t.connection or "not connected", t.users, _action(t), _parked(t, waiting))
        for t, waiting in found
    ]
    print_table(("name", "company", "connection", "users", "action", "parked"), rows, right=("users",))


@click.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one tenant, by name or company id."""
    with backend() as mailroom:
        print_tenant(mailroom.tenant(name), as_json=as_json)


@click.command()
@click.argument("name")
@limit_option
@json_option
def journal(name: str, limit: int, as_json: bool) -> None:
    """Show who changed a tenant by command, API or consent, newest first.

    Changes of its users, addresses, connection, links and own tokens count; no secret is shown.
    """
    with backend() as mailroom:
        found = mailroom.tenant_journal(mailroom.tenant(name).id, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [(format_time(e.at), e.who, f"{e.kind.replace('_', ' ')} {e.what}", e.name, _difference(e)) for e in found]
    print_table(("at", "who", "what", "name", "before → after"), rows)


def _difference(entry: JournalEntry) -> str:
    before, after = entry.before or {}, entry.after or {}
    return ", ".join(f"{key}: {_word(before, key)} → {_word(after, key)}" for key in {**before, **after})


def _word(values: dict[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if values.get(key) is not None else "–"


def print_tenant(tenant: TenantOverview, *, as_json: bool) -> None:
    """Print a tenant with its policy, as JSON or one pair a line."""
    if as_json:
        print_json(tenant)
    else:
        print_pairs(_pairs(tenant))


def _action(tenant: TenantOverview) -> str:
    return f"{tenant.action} (dry run)" if tenant.dry_run else tenant.action


def _parked(tenant: TenantOverview, tasks: int) -> str | None:
    return f"{tenant.parked_cause}, {tasks:,} tasks wait" if tenant.parked_cause and tasks else tenant.parked_cause


def _pairs(tenant: TenantOverview) -> list[tuple[str, str]]:
    connection = f"{tenant.connection}, version {tenant.connection_version}" if tenant.connection else "none"
    if tenant.refused_since:
        connection += f"; Front refuses new tokens since {format_time(tenant.refused_since)}"
    return [
        ("tenant", tenant.name),
        ("company", tenant.company_id or "not known before an admin connects it"),
        *([("customer", tenant.customer)] if tenant.customer else []),
        ("connection", connection),
        ("connected", format_time(tenant.connected_at) if tenant.connected_at else "never"),
        ("parked", _parked_since(tenant)),
        ("users", _users(tenant)),
        ("action", tenant.action + (" when a recipient is a user" if tenant.only_when_matched else " always")),
        ("dry run", "yes: everything is planned, nothing is changed in Front" if tenant.dry_run else "no"),
        ("inboxes", "all" if tenant.only_inboxes is None else "only " + ", ".join(tenant.only_inboxes)),
        ("waits for files", WAITS[tenant.wait_for]),
        ("waits for the host", "yes, before archive and trash" if tenant.act_after == "notified" else "no"),
        ("acts within", format_duration(tenant.act_within.total_seconds())),
        *_quotas(tenant),
        ("folds +tags", "yes" if tenant.fold_plus else "no"),
    ]


def _quotas(tenant: TenantOverview) -> Iterator[tuple[str, str]]:
    if tenant.max_stored_bytes is not None:
        yield "quota of files", f"{tenant.stored_bytes or 0:,} of {tenant.max_stored_bytes:,} bytes used"
    if tenant.max_events_a_day is not None:
        yield "quota of a day", f"{tenant.max_events_a_day:,} events (UTC)"
    if tenant.files_held and tenant.files_held_at:
        since = format_time(tenant.files_held_at)
        yield "files wait", f"since {since}: its quota of {QUOTAS[tenant.files_held]} is used up"


def _parked_since(tenant: TenantOverview) -> str:
    if not (tenant.parked_cause and tenant.parked_at):
        return "no"
    by = " by a token of its own" if tenant.paused_by == "tenant" else ""
    return f"{tenant.parked_cause}{by} since {format_time(tenant.parked_at)}"


def _users(tenant: TenantOverview) -> str:
    own = tenant.users_with_action
    return f"{tenant.users:,}" + (f", {own:,} with an action of their own" if own else "")
