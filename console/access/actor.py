"""The actor who asks for a change, and the rights of each role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.db.accounts.accounts import Account, Role
    from shared.db.accounts.audit import Via
    from shared.db.tenants.api_tokens import Bearer, Scope

#: What somebody may do, with the words of a refusal: "may not …".
VERBS: Final[Mapping[str, str]] = {
    "read": "look at the console",
    "messages": "read messages and their files",
    "reveal": "see addresses and bodies",
    "download": "download files",
    "retry": "retry tasks",
    "discard": "discard tasks",
    "edit_action": "change an action before it is tried again",
    "run_again": "run events again from a step",
    "undo": "undo actions",
    "repair": "compare events with Front and fill gaps",
    "pause": "pause and resume tenants",
    "policy": "change a tenant's policy",
    "connect": "connect a tenant to Front",
    "users": "change a tenant's users and addresses",
    "erase": "erase a tenant",
    "addresses": "export or erase what is held of an address",
    "simulate": "send made-up webhooks",
    "export": "export lists",
    "triage": "acknowledge, ignore or reopen groups of failures",
    "endpoints": "change the endpoints of the host application",
    "manage_accounts": "manage accounts",
    "manage_tokens": "manage API tokens",
    "back_up": "make backups and restore them",
}
EVERYTHING: Final = frozenset(VERBS)
_VIEWER = frozenset({"read"})
_OPERATOR = _VIEWER | {
    "reveal",
    "download",
    "retry",
    "discard",
    "edit_action",
    "run_again",
    "undo",
    "repair",
    "pause",
    "connect",
    "users",
    "simulate",
    "export",
    "triage",
}
ROLES: Final[Mapping[Role, frozenset[str]]] = {"viewer": _VIEWER, "operator": _OPERATOR, "admin": EVERYTHING}
#: What an API token of each scope may do. One that only reads sees addresses and files, as programs need, and no body.
SCOPES: Final[Mapping[Scope, frozenset[str]]] = {
    "read": frozenset({"read", "download"}),
    "messages": frozenset({"messages", "download"}),
    "write": frozenset(
        {
            "read",
            "messages",
            "reveal",
            "download",
            "retry",
            "discard",
            "edit_action",
            "run_again",
            "repair",
            "pause",
            "policy",
            "connect",
            "users",
            "triage",
            "endpoints",
            "addresses",
        }
    ),
}


class NotAllowed(MailroomError):
    """The actor lacks the right to do this; the audit has an entry of it."""

    code = "not_allowed"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Somebody who asks for a change. `tenant_id`: the only tenant that the actor may see; None: all tenants.

    `address`: the IP address from which the request came; None for a command.
    """

    name: str
    via: Via
    verbs: frozenset[str]
    tenant_id: int | None = None
    account_id: int | None = None
    address: str | None = None

    @property
    def signature(self) -> str:
        """Return the name by which the journal of a tenant knows the actor."""
        return f"command of {self.name}" if self.via == "cli" else self.name

    def may(self, verb: str, tenant_id: int | None = None) -> bool:
        """Whether the actor may do this, to this tenant if the change is one of a tenant."""
        return verb in self.verbs and self.sees(tenant_id)

    def sees(self, tenant_id: int | None) -> bool:
        """Whether the actor may know of what belongs to this tenant; None is what belongs to no tenant."""
        return self.tenant_id in {None, tenant_id}

    def require(self, verb: str, tenant_id: int | None = None) -> None:
        """Raise NotAllowed unless the actor may do this."""
        if not self.may(verb, tenant_id):
            raise NotAllowed(f"{self.name} may not {VERBS[verb]}; an admin can change that")


def account_actor(account: Account, *, address: str | None = None) -> Actor:
    """Return the actor for somebody who is logged in to the console."""
    return Actor(name=account.email, via="page", verbs=ROLES[account.role], account_id=account.id, address=address)


def bearer_actor(bearer: Bearer, *, address: str | None = None) -> Actor:
    """Return the actor for a program that sends an API token."""
    return Actor(
        name=f"API token {bearer.name}",
        via="api",
        verbs=SCOPES[bearer.scope],
        tenant_id=bearer.tenant_id,
        address=address,
    )


def command_line_actor(name: str) -> Actor:
    """Return the actor for a command: whoever has DATABASE_URL may do everything."""
    return Actor(name=name, via="cli", verbs=EVERYTHING)
