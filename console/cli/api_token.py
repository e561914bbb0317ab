"""`mailroom api-token`: who may use the REST API."""

from __future__ import annotations

from datetime import timedelta

import click

from console.cli.options import Duration, json_option

LONGEST_NAME = 100


@click.group("api-token")
def api_token() -> None:
    """Make, list and revoke tokens for the REST API."""


@api_token.command()
@click.argument("name")
@click.option(
    "--scope", type=click.Choice(("read", "write")), default="read", show_default=True, help="What it may do."
)
@click.option("--tenant", metavar="T", help="Only this tenant (name or company id); the token sees no other.")
@click.option("--expires", "valid_for", type=Duration(), help="How long it is good for.")
@json_option
def create(name: str, scope: str, tenant: str | None, valid_for: timedelta | None, as_json: bool) -> None:
    """Make a token and print it once; nobody can read it again.

    Example: mailroom api-token create nightly-sync --scope write --tenant Acme --expires 90d
    """
    from console.cli.options import database, the_tenant
    from console.cli.output import print_json, say
    from console.issued_secrets import digest_of, new_token
    from shared.db.tenants import api_tokens

    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise click.UsageError(f"a token's name is up to {LONGEST_NAME} printable characters")
    token = new_token()
    with database() as conn:
        tenant_id = the_tenant(conn, tenant).id if tenant else None
        made = api_tokens.NewApiToken(
            name=name,
            digest=digest_of(token),
            scope="write" if scope == "write" else "read",
            tenant_id=tenant_id,
            valid_for=valid_for,
        )
        api_tokens.add(conn, made)
    say(f"{name} may {scope} {tenant or 'every tenant'}; this is the only time its token is shown")
    if as_json:
        print_json({"name": name, "token": token})
    else:
        click.echo(token)


@api_token.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all tokens; what they read like is nowhere."""
    from console.cli.options import database
    from console.cli.output import print_json, print_table, say_when_none
    from console.cli.times import stamp
    from shared.db.tenants import api_tokens

    with database() as conn:
        found = api_tokens.list_all(conn)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            t.name,
            t.scope,
            t.tenant or "every tenant",
            t.state,
            *(at and stamp(at) for at in (t.last_used_at, t.expires_at)),
        )
        for t in found
    ]
    print_table(("name", "may", "tenant", "state", "last used", "expires"), rows)
    say_when_none(found, "API tokens")


@api_token.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Refuse a token from now on."""
    from console.cli.commands import NothingMatched
    from console.cli.options import database
    from shared.db.tenants import api_tokens

    with database() as conn:
        revoked = api_tokens.revoke(conn, name)
    if not revoked:
        raise NothingMatched(f"no token in use is called {name!r}; `mailroom api-token list` names all")
    click.echo(f"revoked {name}")
