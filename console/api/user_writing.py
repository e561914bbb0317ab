"""Brings users in as `user import` does: staged, checked and written as sets, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from console.web.resources import current
from shared.db import user_claims, user_import, users
from shared.db.users import UserTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.db.pool import Connection
    from shared.db.user_claims import Move
    from shared.db.user_import import ImportedUser, Mistake
    from shared.db.users import NewUser

T = TypeVar("T")


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
    with held.turns.of(tenant_id):
        return held.pool.run(write)


def put_users(conn: Connection, tenant_id: int, lines: Sequence[ImportedUser], wish: Wish) -> Written:
    """Make these users what they are described as. Raises Mistaken unless what is right may go in alone."""
    users.hold(conn, tenant_id)
    user_import.prepare(conn)
    user_import.stage(conn, lines)
    mistakes = list(user_import.leave_out_repeated(conn))
    mistakes += user_claims.leave_out_taken(conn, tenant_id, move=wish.move)
    if mistakes and not wish.partial:
        raise Mistaken(sorted(mistakes, key=lambda mistake: mistake.line))
    moves = list(user_claims.moves(conn, tenant_id))
    user_claims.give_up_addresses(conn, tenant_id)
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
