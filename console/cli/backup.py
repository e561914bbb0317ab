"""`mailroom backup` and `mailroom restore`: database and files in one folder, and back again."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.options import json_option, operator_name, require_no_remote, yes_option
from console.cli.output import count_progress, print_json, say
from console.times import format_time

if TYPE_CHECKING:
    from console.access.actor import Actor
    from console.backup_folder import Manifest
    from console.operations.backups import Restored, Target

folder_argument = click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))


@click.command()
@folder_argument
@json_option
def backup(folder: Path, as_json: bool) -> None:
    """Write database and files into the new folder DIR, while everything runs.

    It holds mail and encrypted tokens, but no key: keep TOKEN_KEYS elsewhere. Files in an object store stay there. What
    is still in the intake is not in it. Example: mailroom backup /backups/2026-11-30
    """
    from console.operations.backups import make_backup

    with ExitStack() as stack:
        manifest = make_backup(_target(stack), _actor(), folder, count_progress)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        _print_backup(folder, manifest)


@click.command()
@folder_argument
@click.option("--replace", is_flag=True, help="Drop the tables and rows that the database has.")
@yes_option
@json_option
def restore(folder: Path, replace: bool, yes: bool, as_json: bool) -> None:
    """Restore the backup in DIR into the empty database at DATABASE_URL, and its files to STORAGE_URL.

    Stop recorders, workers, sweepers and consoles before, and start them after. The door may go on: what waits in the
    intake is recorded then. No change in Front is made a second time, and repairs bring back what was received since.
    Example: mailroom restore /backups/2026-11-30
    """
    from console.operations.backups import restore as restore_backup

    if replace and not yes:
        _confirm()
    with ExitStack() as stack:
        restored = restore_backup(_target(stack), _actor(), folder, count_progress, replace=replace)
    if as_json:
        print_json(_document(restored))
    else:
        _print_restored(restored)


def _target(stack: ExitStack) -> Target:
    """Return the installation of the settings. Its embedded PostgreSQL is started when `mailroom up` does not run."""
    from console.operations.backups import Target
    from console.up.embedded import postgres_folders
    from shared.settings import load
    from shared.storage import Storage

    require_no_remote()
    settings = load()
    return Target(
        database_url=settings.database_url.get_secret_value() or _start_postgres(stack),
        storage=Storage(settings.storage),
        token_keys=settings.token_keys,
        program_folders=tuple(postgres_folders()),
    )


def _start_postgres(stack: ExitStack) -> str:
    from console.up.data_folder import locked
    from console.up.embedded import Postgres
    from shared.settings import load

    settings = load()
    if settings.mailroom_env == "production":
        settings.require("database_url")
    stack.enter_context(locked(settings.mailroom_data))
    return stack.enter_context(Postgres(settings.mailroom_data)).url


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes to drop what the database has")
    click.confirm("drop all tables and rows that the database has?", abort=True, err=True)


def _print_backup(folder: Path, manifest: Manifest) -> None:
    files = manifest.files
    click.echo(f"{folder}: a backup of {format_time(manifest.made_at)}")
    if files.kept == "here":
        click.echo(f"database {manifest.database.size:,} bytes, {files.number:,} files of {files.bytes:,} bytes")
    else:
        click.echo(f"database {manifest.database.size:,} bytes")
        say(f"{files.number:,} files stay in the object store: copy it, or keep its versions as long as this backup")
    if files.missing:
        say(f"{files.missing:,} files are gone or damaged in the storage; a restore has them fetched from Front again")
    keys = ", ".join(key.id for key in manifest.token_keys if key.tokens)
    if keys:
        say(f"its tokens need the TOKEN_KEYS with the ids {keys}: keep them elsewhere")


def _print_restored(restored: Restored) -> None:
    click.echo(f"restored the backup of {format_time(restored.manifest.made_at)}; start the processes now")
    click.echo(f"{restored.files:,} files were stored, and {restored.fetched_again:,} will be fetched from Front again")
    click.echo(f"repairs of {restored.repaired_tenants:,} tenants bring back what was received since")
    if restored.migrated:
        click.echo(f"applied {', '.join(restored.migrated)}")
    say("all people have to log in again; tokens, accounts and tenants are as they were then: revoke and erase again")


def _document(restored: Restored) -> dict[str, Any]:
    return {
        "made_at": restored.manifest.made_at,
        "version": restored.manifest.version,
        "feed_epoch": restored.feed_epoch,
        "migrated": restored.migrated,
        "files": restored.files,
        "fetched_again": restored.fetched_again,
        "repaired_tenants": restored.repaired_tenants,
    }


def _actor() -> Actor:
    from console.access.actor import command_line_actor

    return command_line_actor(operator_name())
