"""Many users in one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from console.api.blueprint import BODY, USERS, api, keep
from console.api.problems import Fault, Invalid, as_members
from console.api.schemas import TenantPath, pointer_to
from console.api.user_schemas import MOST_FAULTS, BulkAnswer, BulkQuery, UserItem, UserList, WrongItem
from console.user_validation import LONGEST_ID, BadUser, validated_user
from console.web.resources import current
from shared.db.users import user_import, users
from shared.db.users.user_import import ImportedUser
from shared.db.users.users import UserTaken
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shared.db.core.pool import Connection
    from shared.db.users.user_import import Mistake, Move
    from shared.db.users.users import NewUser


T = TypeVar("T")

NOT_TAKEN = "nothing was written: see errors"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How users are to be written. `spared` are not set inactive with those missing; None: nobody is."""

    move: bool
    partial: bool = False
    spared: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of users."""

    outcomes: dict[str, int]
    deactivated: int
    moves: list[Move]
    mistakes: list[Mistake]


class Mistaken(Exception):
    """Nothing was written: these lines are wrong."""

    def __init__(self, mistakes: list[Mistake]):
        super().__init__(f"{len(mistakes)} mistakes")
        self.mistakes = mistakes


def change(tenant_id: int, write: Callable[[Connection], T]) -> T:
    """What `write` gives, in one transaction and in the tenant's turn. Raises Crowded."""
    held = current()
    with held.tenant_locks.lock(tenant_id):
        return held.pool.run(write)


def put_users(conn: Connection, tenant_id: int, lines: Sequence[ImportedUser], wish: Wish) -> Written:
    """Make these users what they are described as. Raises Mistaken unless what is right may go in alone."""
    users.hold(conn, tenant_id)
    user_import.prepare(conn)
    user_import.stage(conn, lines)
    mistakes = list(user_import.leave_out_repeated(conn))
    mistakes += user_import.leave_out_taken(conn, tenant_id, move=wish.move)
    if mistakes and not wish.partial:
        raise Mistaken(sorted(mistakes, key=lambda mistake: mistake.line))
    moves = list(user_import.moves(conn, tenant_id))
    user_import.give_up_addresses(conn, tenant_id)
    for _ in user_import.write(conn, tenant_id, with_actions=True):
        pass
    gone = 0 if wish.spared is None else user_import.deactivate_others(conn, tenant_id, but=wish.spared)
    return Written(outcomes=user_import.outcomes(conn), deactivated=gone, moves=moves, mistakes=mistakes)


def put_user(conn: Connection, tenant_id: int, user: NewUser, *, move: bool) -> str:
    """Make one user what it is described as; whether it was added, changed or unchanged. Raises UserTaken."""
    line = user_import.ImportedUser(line=0, user=user)
    try:
        written = put_users(conn, tenant_id, [line], Wish(move=move))
    except Mistaken as exc:
        raise UserTaken("; ".join(mistake.what for mistake in exc.mistakes)) from None
    return next(iter(written.outcomes))


@api.post("/tenants/<int:tenant_id>/users/bulk", tags=[USERS], responses={200: BulkAnswer, **BODY})
def put_users_of_list(path: TenantPath, query: BulkQuery, body: UserList) -> dict[str, Any]:
    """Make and replace up to 5,000 users in one transaction; doing it again changes nothing.

    All or nothing. With `partial=true` wrong users are left out, and of a user with an address that belongs to somebody
    else only that address is, as `mailroom user import` does it.
    """
    items: Sequence[UserItem | WrongItem] = body.users
    faults: list[Fault] = []
    lines = [line for index, item in enumerate(items) if (line := _line(index, item, faults))]
    spared = _named(items) if body.missing == "deactivate" else None
    wish = Wish(move=body.addresses_of_others == "move", partial=query.partial, spared=spared)

    def write(conn: Connection) -> Written:
        keep(conn, path.tenant_id)
        written = put_users(conn, path.tenant_id, lines, wish)
        if faults and not query.partial:
            raise Mistaken([])
        return written

    try:
        written = change(path.tenant_id, write)
    except Mistaken as exc:
        raise Invalid(NOT_TAKEN, faults=[*faults, *_faults(exc.mistakes, items)]) from None
    return _answer(written, [*faults, *_faults(written.mistakes, items)])


def _answer(written: Written, faults: Sequence[Fault]) -> dict[str, Any]:
    counts = {name: written.outcomes.get(name, 0) for name in ("added", "changed", "unchanged")}
    moved = [{"address": move.address, "was": move.owner, "now": move.heir} for move in written.moves]
    return {**counts, "deactivated": written.deactivated, "moved": moved, "errors": as_members(faults)}


def _line(index: int, item: UserItem | WrongItem, faults: list[Fault]) -> ImportedUser | None:
    """The user an item describes; else what is wrong with it joins the faults."""
    if isinstance(item, WrongItem):
        faults += (_placed(index, fault) for fault in item.faults)
        return None
    try:
        user = validated_user(item.external_id, item.name, item.addresses, item.action or "", active=item.active)
    except BadUser as error:
        faults += (
            _fault(index, "bad_user", each.what, each.field, *([] if each.place is None else [each.place]))
            for each in error.fields[:MOST_FAULTS]
        )
        return None
    return ImportedUser(line=index, user=user)


def _placed(index: int, fault: Fault) -> Fault:
    """A fault found within an item, where it is in the list."""
    inside = (fault.pointer or "#").removeprefix("#")
    pointer = pointer_to("users", index) + inside
    return Fault(code=fault.code, detail=fault.detail, pointer=pointer, index=index)


def _fault(index: int, code: str, detail: str, *inside: str | int) -> Fault:
    return Fault(code=code, detail=detail, pointer=pointer_to("users", index, *inside), index=index)


def _faults(mistakes: Iterable[Mistake], items: Sequence[UserItem | WrongItem]) -> Iterable[Fault]:
    """What staging found wrong, told by item."""
    for mistake in mistakes:
        item = items[mistake.line]
        if isinstance(item, WrongItem):
            raise TypeError(f"item {mistake.line} was never staged")
        if mistake.address is None:
            what = f"external_id {item.external_id!r} is that of item {mistake.earlier} already"
            yield _fault(mistake.line, "user_repeated", what, "external_id")
        else:
            place = item.addresses.index(mistake.address)
            yield _fault(mistake.line, "user_taken", mistake.what, "addresses", place)


def _named(items: Sequence[UserItem | WrongItem]) -> list[str]:
    """Everybody the list names, wrongly described or not. Raises Invalid where an item does not say whom it means."""
    nameless = [
        _fault(index, "nameless", "without its external_id, everybody could be missing", "external_id")
        for index, item in enumerate(items)
        if item.external_id is None
    ]
    if nameless:
        raise Invalid(NOT_TAKEN, faults=nameless)
    # What cannot be stored is nobody's; as close as it can be, it spares whoever is called so.
    return [clean(item.external_id.strip(), LONGEST_ID + 1) for item in items if item.external_id is not None]
