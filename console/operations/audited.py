"""Carry out a change for somebody who may ask for it, and write the audit, whether it was allowed or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shared.db.accounts import audit
from shared.db.accounts.audit import NewAuditEntry

if TYPE_CHECKING:
    from console.access.actor import Actor
    from shared.db.core.pool import Connection
    from shared.errors import MailroomError

T = TypeVar("T")


class Run(Protocol):
    """Runs work in one transaction, perhaps several times: `Pool.run`, or `in_transaction` of one connection."""

    def __call__(self, work: Callable[[Connection], T], /) -> T: ...


@dataclass(kw_only=True)
class Change:
    """A change that is asked for. The work fills in `before`, `after` and `detail`: names with what differs.

    `target` names what is changed, as in "task 4711"; never with an address or a secret.
    """

    verb: str
    target: str
    tenant_id: int | None = None
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    detail: str = ""


def carry_out(
    run: Run, actor: Actor, change: Change, work: Callable[[Connection], T], *, unseen: MailroomError | None = None
) -> T:
    """Do the work and write the audit in one transaction, and return the work's result.

    `work` must be safe to repeat. Raises NotAllowed, after an audit entry of its own, and whatever the work raises:
    then nothing was changed and nothing is written. `unseen` is raised in place of NotAllowed where the actor may not
    even know of the target, because it belongs to another tenant.
    """
    if not actor.may(change.verb, change.tenant_id):
        run(lambda conn: audit.write(conn, _entry(actor, change, allowed=False)))
        if unseen is not None and not actor.sees(change.tenant_id):
            raise unseen
        actor.require(change.verb, change.tenant_id)

    def work_and_write(conn: Connection) -> T:
        result = work(conn)
        audit.write(conn, _entry(actor, change, allowed=True))
        return result

    return run(work_and_write)


def in_transaction(conn: Connection) -> Run:
    """Return what runs work in a transaction of this connection, once."""

    def run(work: Callable[[Connection], T]) -> T:
        with conn.transaction():
            return work(conn)

    return run


def _entry(actor: Actor, change: Change, *, allowed: bool) -> NewAuditEntry:
    return NewAuditEntry(
        who=actor.name,
        via=actor.via,
        verb=change.verb,
        target=change.target,
        tenant_id=change.tenant_id,
        allowed=allowed,
        before=change.before or None,
        after=change.after or None,
        detail=change.detail,
        address=actor.address,
    )
