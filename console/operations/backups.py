"""Make a backup while everything runs, and restore one into an empty database.

A restore puts the rows first, then the files, and the migrations last: until then every process waits. In the same
transaction as the migrations it forbids that anything is done twice, and asks for repairs of what was received since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.backup_folder import (
    DUMP,
    FILE_LIST,
    FORMAT,
    BackupFolder,
    CopiedFiles,
    DumpFacts,
    FileFacts,
    KeyFacts,
    Manifest,
    MigrationFacts,
)
from console.key_rotation import count_sealed, key_usage
from console.operations.audited import Change, carry_out, in_transaction
from shared import installed_version
from shared.connection.vault import TokenVault
from shared.db import dumping, restoring
from shared.db.core.migrate import apply, known, pending
from shared.db.core.session import session
from shared.db.restoring import AppliedMigration
from shared.errors import ConfigurationError, MailroomError, SchemaTooNew

if TYPE_CHECKING:
    from pydantic import SecretStr

    from console.access.actor import Actor
    from shared.db.core.pool import Connection
    from shared.storage import Storage

VERB = "back_up"
#: Shows the progress of a count: a label and a total give a function that takes how many more are done.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class OtherKeys(MailroomError):
    """TOKEN_KEYS lack a key that sealed tokens of the backup."""

    code = "other_keys"


class DatabaseInUse(MailroomError):
    """Programs are connected to the database that is to be restored."""

    code = "database_in_use"


class DatabaseNotEmpty(MailroomError):
    """The database that is to be restored has tables."""

    code = "database_not_empty"


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The result of a restore: the manifest, the new epoch of the feed, and what is done again or filled in."""

    manifest: Manifest
    feed_epoch: str
    migrated: Sequence[str]
    files: int
    fetched_again: int
    repaired_tenants: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """The installation to back up or to restore: its stores, its keys, and folders with programs of PostgreSQL."""

    database_url: str
    storage: Storage
    token_keys: Sequence[SecretStr]
    program_folders: Sequence[Path]


def make_backup(target: Target, actor: Actor, path: Path, progress: Progress) -> Manifest:
    """Write a backup into the folder, which must be empty or new. Everything may run meanwhile.

    Rows and the list of files are of one moment. Raises NotAllowed, ConfigurationError, DumpFailed, FolderNotEmpty,
    FolderUnusable, StorageUnavailable; then nothing is left in the folder. Its age is known to monitoring from then on.
    """
    folder = BackupFolder(path)
    with session(target.database_url) as conn:
        folder.create()
        try:
            manifest = _write(target, actor, folder, conn, progress)
        except BaseException:
            folder.discard()
            raise
        in_transaction(conn)(lambda conn: restoring.note_backup(conn, manifest.made_at))
        return manifest


def _write(target: Target, actor: Actor, folder: BackupFolder, conn: Connection, progress: Progress) -> Manifest:
    snapshot, keys, listed = _write_rows(target, actor, folder, conn)
    if target.storage.is_folder:
        with progress("copy files", listed) as advance:
            files = folder.copy_in(target.storage, advance)
    else:
        files = CopiedFiles(number=listed, size=sum(file.size for file in folder.listed()), missing=0)
    size, digest = folder.digest(DUMP)
    manifest = Manifest(
        format=FORMAT,
        version=installed_version() or "",
        made_at=snapshot.at,
        feed_epoch=snapshot.feed_epoch,
        migrations=tuple(MigrationFacts(**each._asdict()) for each in snapshot.migrations),
        token_keys=keys,
        database=DumpFacts(schema_name=snapshot.schema, major=dumping.server_major(conn), size=size, sha256=digest),
        files=FileFacts(
            kept="here" if target.storage.is_folder else "in the object store",
            number=files.number,
            bytes=files.size,
            missing=files.missing,
            list_sha256=folder.digest(FILE_LIST)[1],
        ),
    )
    folder.write_manifest(manifest)
    return manifest


def _write_rows(
    target: Target, actor: Actor, folder: BackupFolder, conn: Connection
) -> tuple[restoring.Snapshot, tuple[KeyFacts, ...], int]:
    """Dump the rows, and list the files that the same rows name."""
    program = dumping.find_program("pg_dump", target.program_folders, at_least=dumping.server_major(conn))

    def work(conn: Connection) -> tuple[restoring.Snapshot, tuple[KeyFacts, ...], int]:
        snapshot = restoring.export_snapshot(conn)
        keys = _key_facts(conn, target.token_keys)
        listed = folder.write_list(restoring.stored_files(conn))
        dumping.dump(program, target.database_url, folder.dump, schema=snapshot.schema, snapshot=snapshot.id)
        return snapshot, keys, listed

    restoring.hold_snapshot(conn)
    return carry_out(in_transaction(conn), actor, Change(verb=VERB, target="a backup"), work)


def _key_facts(conn: Connection, token_keys: Sequence[SecretStr]) -> tuple[KeyFacts, ...]:
    """Count the tokens that each key sealed. Raises ConfigurationError when there are tokens and no keys."""
    if not token_keys and not count_sealed(conn):
        return ()
    vault = TokenVault(token_keys)
    counts = key_usage(conn, vault).by_key
    return tuple(KeyFacts(id=key_id, tokens=tokens) for key_id, tokens in zip(vault.key_ids, counts, strict=True))


def restore(target: Target, actor: Actor, path: Path, progress: Progress, *, replace: bool) -> Restored:
    """Restore a backup; with `replace` in place of what the database has. No process but the door may run meanwhile.

    Everything is checked before anything is changed. Raises NotAllowed, BackupDamaged, SchemaTooNew, OtherKeys,
    DatabaseInUse, DatabaseNotEmpty, ConfigurationError. DumpFailed and StorageUnavailable may leave a part behind, on
    which no process works; run it again with `replace` then.
    """
    actor.require(VERB)
    folder = BackupFolder(path)
    manifest = folder.manifest()
    _refuse_unknown_migrations(manifest)
    _refuse_other_keys(manifest, target.token_keys)
    with progress("check the backup", manifest.files.number) as advance:
        folder.verify(manifest, advance)
    with session(target.database_url) as conn:
        _load(target, folder, manifest, conn, replace=replace)
        with progress("restore files", manifest.files.number) as advance:
            restored = _put_files(target.storage, folder, manifest, advance)
        change = Change(verb=VERB, target=f"a restore of the backup of {manifest.made_at.isoformat()}")
        return carry_out(
            in_transaction(conn), actor, change, lambda conn: _finish(conn, target.storage, manifest, restored)
        )


def _refuse_unknown_migrations(manifest: Manifest) -> None:
    ours = {migration.name: migration.checksum for migration in known()}
    if newer := [each.name for each in manifest.migrations if each.name not in ours]:
        raise SchemaTooNew(
            f"the backup is of release {manifest.version or 'unknown'}, whose schema has {', '.join(newer)}; "
            "restore it with that release or a newer one"
        )
    if changed := [each.name for each in manifest.migrations if each.checksum != ours[each.name]]:
        raise SchemaTooNew(f"the backup is of another Mailroom: its {', '.join(changed)} reads differently")


def _refuse_other_keys(manifest: Manifest, token_keys: Sequence[SecretStr]) -> None:
    ours = TokenVault(token_keys).key_ids if token_keys else ()
    needed = [key for key in manifest.token_keys if key.tokens and key.id not in ours]
    if needed:
        missing = ", ".join(f"{key.id} ({key.tokens} tokens)" for key in needed)
        raise OtherKeys(
            f"TOKEN_KEYS lack keys of the backup: {missing}; they have {', '.join(ours) or 'none'}. "
            "Put the keys of that day behind the newest one"
        )


def _load(target: Target, folder: BackupFolder, manifest: Manifest, conn: Connection, *, replace: bool) -> None:
    """Load the rows into the empty database; empty it before, if it is to be replaced."""
    major = max(dumping.server_major(conn), manifest.database.major)
    program = dumping.find_program("pg_restore", target.program_folders, at_least=major)
    schema = restoring.schema_name(conn)
    if schema != manifest.database.schema_name:
        raise ConfigurationError(
            f"DATABASE_URL: its schema is {schema}, and that of the backup is {manifest.database.schema_name}; "
            "make that schema, and put it first in the role's search_path"
        )
    if sessions := restoring.other_sessions(conn):
        raise DatabaseInUse(
            f"these are connected to the database: {', '.join(sessions)}; "
            "stop recorders, workers, sweepers and consoles. The door may go on"
        )
    if not restoring.is_empty(conn):
        if not replace:
            raise DatabaseNotEmpty("the database has tables; name an empty one, or add --replace to drop them")
        if not restoring.is_ours(conn):
            raise DatabaseNotEmpty("the database has tables that are not Mailroom's; name another one")
        restoring.empty(conn)
    dumping.load(program, target.database_url, folder.dump, schema=manifest.database.schema_name)


def _put_files(storage: Storage, folder: BackupFolder, manifest: Manifest, advance: Callable[[int], None]) -> int:
    """Store the files that the storage lacks or has with other bytes, and return their number."""
    stored = 0
    sizes: dict[str, dict[str, int]] = {}
    for file in folder.listed() if manifest.files.kept == "here" else ():
        tenant_id = file.path.partition("/")[0]
        if tenant_id not in sizes:
            sizes = {tenant_id: storage.sizes(int(tenant_id))}  # the list is sorted by path
        if sizes[tenant_id].get(file.path) != file.size or not storage.has(file.path, sha256=file.sha256):
            storage.put(file.path, folder.read(file))
            stored += 1
        advance(1)
    return stored


def _finish(conn: Connection, storage: Storage, manifest: Manifest, files: int) -> Restored:
    """Let processes work on the database from the commit on."""
    restoring.put_migrations(conn, [AppliedMigration(**each.model_dump()) for each in manifest.migrations])
    migrated = [migration.name for migration in pending(conn, known()) if apply(conn, migration)]
    epoch = restoring.forbid_repeating(conn, backup_at=manifest.made_at)
    restoring.note_backup(conn, manifest.made_at)  # it was noted after its own rows were dumped
    fetched = sum(_fetch_missing(conn, storage, tenant_id) for tenant_id in restoring.tenants_with_files(conn))
    return Restored(
        manifest=manifest,
        feed_epoch=epoch,
        migrated=migrated,
        files=files,
        fetched_again=fetched,
        repaired_tenants=restoring.request_repairs(conn, backup_at=manifest.made_at),
    )


def _fetch_missing(conn: Connection, storage: Storage, tenant_id: int) -> int:
    """Have the files fetched again that rows name and the storage lacks."""
    sizes = storage.sizes(tenant_id)
    missing = [file.path for file in restoring.stored_files(conn, tenant_id) if sizes.get(file.path) != file.size]
    return restoring.fetch_again(conn, tenant_id, missing) if missing else 0
