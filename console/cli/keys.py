"""`mailroom keys`: makes the keys that settings ask for."""

from __future__ import annotations

import click


@click.group()
def keys() -> None:
    """Make keys for TOKEN_KEYS."""


@keys.command()
def generate() -> None:
    """Print a new Fernet key.

    To rotate, put it in front: TOKEN_KEYS=NEW,OLD. Tokens sealed with OLD stay readable as long as OLD is listed.
    """
    from cryptography.fernet import Fernet

    click.echo(Fernet.generate_key().decode())
