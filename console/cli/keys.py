"""`mailroom keys`: makes the keys that settings ask for, and puts a new one to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from console.cli.options import dry_run_option, json_option

if TYPE_CHECKING:
    from console.key_rotation import Keyring


@click.group()
def keys() -> None:
    """Make keys for TOKEN_KEYS, and rotate them."""


@keys.command()
def generate() -> None:
    """Print a new Fernet key.

    To rotate, put it in front: TOKEN_KEYS=NEW,OLD. Tokens sealed with OLD stay readable as long as OLD is listed;
    `mailroom keys rotate` seals them with NEW.
    """
    from cryptography.fernet import Fernet

    click.echo(Fernet.generate_key().decode())


@keys.command()
@dry_run_option
@json_option
@click.pass_context
def rotate(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Seal every stored token with the newest of TOKEN_KEYS.

    First restart all processes with the new key in front of the old ones. May be run at any time, beside working
    processes, and again after it was broken off. Exits 4 when a token does not open, or was sealed with an older key
    meanwhile.
    """
    from console.cli.commands import PARTLY_FAILED
    from console.cli.options import database
    from console.cli.output import print_json, progress
    from console.key_rotation import reseal, survey
    from shared.connection.vault import TokenVault
    from shared.db.tenants import connections
    from shared.settings import load

    vault, resealed = TokenVault(load().token_keys), 0
    with database() as conn:
        if not dry_run:
            with progress("seal again", connections.count_sealed(conn)) as advance:
                resealed = reseal(conn, vault, advance)
        keyring = survey(conn, vault)
    if as_json:
        print_json(_document(keyring, resealed))
    else:
        _print(keyring, resealed, dry_run=dry_run)
    if keyring.unreadable or (keyring.older and not dry_run):
        ctx.exit(PARTLY_FAILED)


def _document(keyring: Keyring, resealed: int) -> dict[str, Any]:
    return {
        "tokens": keyring.tokens,
        "already_newest": max(0, keyring.by_key[0] - resealed),
        "resealed": resealed,
        "older": keyring.older,
        "by_key": keyring.by_key,
        "unreadable": [{"tenant": each.tenant, "reason": each.reason} for each in keyring.unreadable],
        "removable_keys": keyring.unused_keys,
    }


def _print(keyring: Keyring, resealed: int, *, dry_run: bool) -> None:
    already = max(0, keyring.by_key[0] - resealed)
    click.echo(f"{already:,} of {keyring.tokens:,} tokens were sealed with the newest key already")
    click.echo(f"{keyring.older:,} would be sealed again" if dry_run else f"{resealed:,} sealed again")
    if keyring.older and not dry_run:
        click.echo(
            f"{keyring.older:,} sealed with an older key meanwhile: restart all processes with these TOKEN_KEYS, then "
            "run this again"
        )
    for each in keyring.unreadable:
        click.echo(f"{each.tenant}: {each.reason}")
    for position in range(2, len(keyring.by_key) + 1):
        unused = position in keyring.unused_keys
        click.echo(f"key {position} of TOKEN_KEYS " + ("seals no token and may be removed" if unused else "is in use"))
