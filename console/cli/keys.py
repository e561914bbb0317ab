"""`mailroom keys`: make keys for TOKEN_KEYS, and seal the stored tokens with a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from console.cli.commands import PARTLY_FAILED
from console.cli.options import database, dry_run_option, json_option
from console.cli.output import count_progress, print_json

if TYPE_CHECKING:
    from console.key_rotation import KeyUsage


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
    """Seal every stored token, and every secret of an endpoint, with the newest of TOKEN_KEYS.

    First restart all processes with the new key in front of the old ones. The command may run at any time, while
    processes work, and again after an interruption. Exits 4 when a token cannot be opened, or was sealed with an older
    key meanwhile.
    """
    from console.key_rotation import count_sealed, key_usage, reseal
    from shared.connection.vault import TokenVault
    from shared.settings import load

    vault, resealed = TokenVault(load().token_keys), 0
    with database() as conn:
        if not dry_run:
            with count_progress("seal again", count_sealed(conn)) as advance:
                resealed = reseal(conn, vault, advance)
        usage = key_usage(conn, vault)
    if as_json:
        print_json(_document(usage, resealed))
    else:
        _print(usage, resealed, dry_run=dry_run)
    if usage.unreadable or (usage.older and not dry_run):
        ctx.exit(PARTLY_FAILED)


def _document(usage: KeyUsage, resealed: int) -> dict[str, Any]:
    return {
        "tokens": usage.tokens,
        "already_newest": _already_newest(usage, resealed),
        "resealed": resealed,
        "older": usage.older,
        "by_key": usage.by_key,
        "unreadable": [{"tenant": each.tenant, "reason": each.reason} for each in usage.unreadable],
        "removable_keys": usage.unused_keys,
    }


def _print(usage: KeyUsage, resealed: int, *, dry_run: bool) -> None:
    already = _already_newest(usage, resealed)
    click.echo(f"{already:,} of {usage.tokens:,} tokens were sealed with the newest key already")
    click.echo(f"{usage.older:,} would be sealed again" if dry_run else f"{resealed:,} sealed again")
    if usage.older and not dry_run:
        click.echo(
            f"{usage.older:,} sealed with an older key meanwhile: restart all processes with these TOKEN_KEYS, then "
            "run this again"
        )
    for each in usage.unreadable:
        click.echo(f"{each.tenant}: {each.reason}")
    for position in range(2, len(usage.by_key) + 1):
        unused = position in usage.unused_keys
        click.echo(f"key {position} of TOKEN_KEYS " + ("seals no token and may be removed" if unused else "is in use"))


def _already_newest(usage: KeyUsage, resealed: int) -> int:
    return max(0, usage.by_key[0] - resealed)
