"""Write users, and take many of them in one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from console.api.blueprint import BODY_PROBLEMS, USERS, api, change, keep_tenant, needs
from console.api.problems import Fault, Invalid, fault_members
from console.api.schemas import TenantPath, pointer_to
from console.api.user_schemas import MOST_FAULTS, BulkQuery, BulkResult, UserItem, UserList, WrongItem
from console.operations.audited import Change
from console.user_validation import LONGEST_ID, BadUser, validated_user
from console.web.resources import current_resources
from shared.db.users import user_writes, users
from shared.db.users.user_writes import ImportedUser
from shared.db.users.users import UserTaken
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shared.db.core.pool import Connection
    from shared.db.users.user_writes import AddressMove, Mistake
    from shared.db.users.users import NewUser


T = TypeVar("T")

NOTHING_WRITTEN = "nothing was written: see errors"


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """The choices of a request that writes users.

    `with_actions`: the list says the action of each user.
    `deactivate_except`: set inactive all users of the tenant but those written and those with these external ids. With
    None, nobody is set inactive.
    """

    move: bool
    partial: bool = False
    with_actions: bool = True
    deactivate_except: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class WriteResult:
    """The outcome of a request that writes users."""

    outcomes: dict[str, int]
    deactivated: int
    moves: list[AddressMove]
    mistakes: list[Mistake]


class UsersRejected(Exception):
    """Nothing was written; `mistakes` says which lines are wrong."""

    def __init__(self, mistakes: list[Mistake]):
        super().__init__(f"{len(mistakes)} mistakes")
        self.mistakes = mistakes


@api.post("/tenants/<int:tenant_id>/users/bulk", tags=[USERS], responses={200: BulkResult, **BODY_PROBLEMS})
@needs("users")
def put_users_of_list(path: TenantPath, query: BulkQuery, body: UserList) -> dict[str, Any]:
    """Make and replace up to 5,000 users in one transaction. The same request again changes nothing.

    All or nothing. With `partial=true` wrong users are left out. If an address of a user belongs to somebody else, only
    that address is left out, as `mailroom user import` does it.
    """
    items: Sequence[UserItem | WrongItem] = body.users
    faults: list[Fault] = []
    keeps = body.left_out == "keep"
    lines = [line for index, item in enumerate(items) if (line := _line(index, item, faults, keeps=keeps))]
    listed = _external_ids(items) if body.missing == "deactivate" else None
    options = WriteOptions(
        move=body.addresses_of_others == "move",
        partial=query.partial,
        with_actions=not keeps
        or any("action" in item.model_fields_set for item in items if isinstance(item, UserItem)),
        deactivate_except=listed,
    )

    def write(conn: Connection) -> WriteResult:
        keep_tenant(conn, path.tenant_id)
        with conn.transaction(force_rollback=query.dry_run):
            result = put_users(conn, path.tenant_id, lines, options)
        if faults and not query.partial:
            raise UsersRejected([])
        return result

    try:
        result = with_tenant_lock(path.tenant_id, write)
    except UsersRejected as exc:
        raise Invalid(NOTHING_WRITTEN, faults=[*faults, *_faults(exc.mistakes, items)]) from None
    return _document(result, [*faults, *_faults(result.mistakes, items)])


def with_tenant_lock(tenant_id: int, write: Callable[[Connection], T]) -> T:
    """Run `write` in a transaction under the tenant's lock, and return its result. Raises Crowded.

    The tenant's journal says which users were changed; the audit says that somebody changed them.
    """
    wanted = Change(verb="users", target=f"users of tenant {tenant_id}", tenant_id=tenant_id)
    with current_resources().tenant_locks.lock(tenant_id):
        return change(wanted, write)


def put_user(conn: Connection, tenant_id: int, user: NewUser, *, move: bool) -> str:
    """Add or replace one user; return "added", "changed" or "unchanged". Raises UserTaken."""
    line = user_writes.ImportedUser(line=0, user=user)
    try:
        result = put_users(conn, tenant_id, [line], WriteOptions(move=move))
    except UsersRejected as exc:
        raise UserTaken("; ".join(mistake.what for mistake in exc.mistakes)) from None
    return next(iter(result.outcomes))


def put_users(conn: Connection, tenant_id: int, lines: Sequence[ImportedUser], options: WriteOptions) -> WriteResult:
    """Add or replace these users. Raises UsersRejected for a mistake, unless the options are `partial`."""
    users.lock(conn, tenant_id)
    user_writes.create_staging_tables(conn)
    user_writes.stage(conn, lines)
    mistakes = list(user_writes.remove_repeated_lines(conn))
    mistakes += user_writes.remove_taken_addresses(conn, tenant_id, move=options.move)
    if mistakes and not options.partial:
        raise UsersRejected(sorted(mistakes, key=lambda mistake: mistake.line))
    moves = list(user_writes.moves(conn, tenant_id))
    user_writes.delete_old_addresses(conn, tenant_id)
    for _ in user_writes.write_users(conn, tenant_id, with_actions=options.with_actions):
        pass
    spared = options.deactivate_except
    deactivated = 0 if spared is None else user_writes.deactivate_others(conn, tenant_id, but=spared)
    return WriteResult(
        outcomes=user_writes.count_outcomes(conn), deactivated=deactivated, moves=moves, mistakes=mistakes
    )


def _document(result: WriteResult, faults: Sequence[Fault]) -> dict[str, Any]:
    counts = {name: result.outcomes.get(name, 0) for name in ("added", "changed", "unchanged")}
    moved = [{"address": move.address, "was": move.owner, "now": move.heir} for move in result.moves]
    return {**counts, "deactivated": result.deactivated, "moved": moved, "errors": fault_members(faults)}


def _line(index: int, item: UserItem | WrongItem, faults: list[Fault], *, keeps: bool) -> ImportedUser | None:
    """Return the user that an item describes; if it describes none, add its mistakes to the faults.

    With `keeps`, a user of an item that does not say `active` stays as it is.
    """
    if isinstance(item, WrongItem):
        faults += (_fault_in_list(index, fault) for fault in item.faults)
        return None
    active = None if keeps and "active" not in item.model_fields_set else item.active
    try:
        user = validated_user(item.external_id, item.name, item.addresses, item.action or "", active=active)
    except BadUser as error:
        faults += (
            _fault(index, "bad_user", each.what, each.field, *([] if each.place is None else [each.place]))
            for each in error.fields[:MOST_FAULTS]
        )
        return None
    return ImportedUser(line=index, user=user)


def _external_ids(items: Sequence[UserItem | WrongItem]) -> list[str]:
    """Return the external ids of all items, wrong ones included. Raises Invalid for an item without one."""
    faults = [
        _fault(index, "nameless", "without its external_id, everybody could be missing", "external_id")
        for index, item in enumerate(items)
        if item.external_id is None
    ]
    if faults:
        raise Invalid(NOTHING_WRITTEN, faults=faults)
    # No user has an id that cannot be stored. Cleaned, it spares the user with the closest id.
    return [clean(item.external_id.strip(), LONGEST_ID + 1) for item in items if item.external_id is not None]


def _faults(mistakes: Iterable[Mistake], items: Sequence[UserItem | WrongItem]) -> Iterator[Fault]:
    """Turn the mistakes that staging found into faults of the items."""
    for mistake in mistakes:
        item = items[mistake.line]
        if isinstance(item, WrongItem):
            raise TypeError(f"item {mistake.line} was never staged")
        if mistake.address is None:
            detail = f"item {mistake.earlier} has the external_id {item.external_id!r} already"
            yield _fault(mistake.line, "user_repeated", detail, "external_id")
        else:
            place = item.addresses.index(mistake.address)
            yield _fault(mistake.line, "user_taken", mistake.what, "addresses", place)


def _fault(index: int, code: str, detail: str, *path: str | int) -> Fault:
    return Fault(code=code, detail=detail, pointer=pointer_to("users", index, *path), index=index)


def _fault_in_list(index: int, fault: Fault) -> Fault:
    """Turn a fault of an item into one of the list."""
    path = (fault.pointer or "#").removeprefix("#")
    return Fault(code=fault.code, detail=fault.detail, pointer=pointer_to("users", index) + path, index=index)
