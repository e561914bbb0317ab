"""Users, one by one and page by page."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from console.api.blueprint import BODY, USERS, api, keep, said
from console.api.bulk import change, put_user
from console.api.problems import Fault, Invalid, UnknownUser
from console.api.schemas import TenantPath, pointer_to
from console.api.user_schemas import (
    DeleteQuery,
    PutQuery,
    UserFields,
    UserPage,
    UserPatch,
    UserPath,
    UserShown,
    UsersQuery,
)
from console.user_validation import LONGEST_ID, BadUser, validated_user
from console.web.resources import current
from shared.addresses import match_key
from shared.db.users import users
from shared.text import clean

if TYPE_CHECKING:
    from console.user_validation import WrongField
    from shared.db.core.pool import Connection
    from shared.db.users.users import NewUser, User


ONE = "/tenants/<int:tenant_id>/users/<anything:external_id>"
Shown = dict[str, Any]


def cursor_after(tenant_id: int, external_id: str) -> str:
    """The word for what comes after this user."""
    place = json.dumps([tenant_id, external_id], ensure_ascii=False)  # else an id of emoji makes three times the word
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read_cursor(cursor: str, tenant_id: int) -> str:
    """The external id to go on after. Raises Invalid for a word that is none of ours, or another tenant's."""
    try:
        whose, external_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        whose, external_id = None, None
    if whose != tenant_id or not isinstance(external_id, str):
        fault = Fault(code="bad_cursor", detail="no cursor of this list; take `next` as it came", parameter="after")
        raise Invalid("the list cannot be continued there", faults=[fault])
    return clean(external_id, LONGEST_ID)


@api.get("/tenants/<int:tenant_id>/users", tags=[USERS], responses={200: UserPage})
def list_users(path: TenantPath, query: UsersQuery) -> Shown:
    """List a tenant's users by external id."""
    after = "" if query.after is None else read_cursor(query.after, path.tenant_id)
    key = None if query.address is None else match_key(query.address) or ""

    def read(conn: Connection) -> list[User]:
        keep(conn, path.tenant_id)
        return users.of_tenant(conn, path.tenant_id, limit=query.limit + 1, after=after, active=query.active, key=key)

    found = current().pool.run(read)
    page = found[: query.limit]
    more = len(found) > len(page)
    return {
        "users": [vars(user) for user in page],
        "next": cursor_after(path.tenant_id, page[-1].external_id) if more else None,
    }


@api.get(ONE, tags=[USERS], responses={200: UserShown})
def show_user(path: UserPath) -> Shown:
    """Show one user."""
    return vars(current().pool.run(lambda conn: _found(conn, path)))


@api.put(ONE, tags=[USERS], responses={200: UserShown, 201: UserShown, **BODY, **said(409)})
def replace_user(path: UserPath, query: PutQuery, body: UserFields) -> tuple[Shown, int]:
    """Make one user, or replace the one with this external id. Doing it again changes nothing."""
    user = _described(path.external_id, body)

    def write(conn: Connection) -> tuple[Shown, int]:
        keep(conn, path.tenant_id)
        outcome = put_user(conn, path.tenant_id, user, move=query.move)
        return vars(_found(conn, path)), 201 if outcome == "added" else 200

    return change(path.tenant_id, write)


@api.patch(ONE, tags=[USERS], responses={200: UserShown, **BODY, **said(409)})
def change_user(path: UserPath, query: PutQuery, body: UserPatch) -> Shown:
    """Change parts of one user."""

    def write(conn: Connection) -> Shown:
        keep(conn, path.tenant_id)
        users.hold(conn, path.tenant_id)
        present = _found(conn, path)
        wanted = {name: value for name, value in vars(body).items() if _is_wanted(body, name)}
        fields = UserFields.model_construct(**vars(present) | wanted)
        put_user(conn, path.tenant_id, _described(present.external_id, fields), move=query.move)
        return vars(_found(conn, path))

    return change(path.tenant_id, write)


@api.delete(ONE, tags=[USERS], responses={204: None})
def delete_user(path: UserPath, query: DeleteQuery) -> tuple[str, int]:
    """Set one user inactive, or erase it."""

    def write(conn: Connection) -> None:
        keep(conn, path.tenant_id)
        users.hold(conn, path.tenant_id)
        remove = users.erase if query.erase else users.deactivate
        remove(conn, path.tenant_id, _found(conn, path).external_id)

    change(path.tenant_id, write)
    return "", 204


def _found(conn: Connection, path: UserPath) -> User:
    user = users.find(conn, path.tenant_id, clean(path.external_id, LONGEST_ID + 1))
    if user is None:
        raise UnknownUser(f"tenant {path.tenant_id} has no user {path.external_id[:LONGEST_ID]!r}")
    return user


def _described(external_id: str, fields: UserFields) -> NewUser:
    try:
        return validated_user(external_id, fields.name, fields.addresses, fields.action or "", active=fields.active)
    except BadUser as error:
        raise Invalid("the user does not do: see errors", faults=[_fault(each) for each in error.fields]) from None


def _is_wanted(body: UserPatch, name: str) -> bool:
    """Whether the body changes this; only an action may be null."""
    return name in body.model_fields_set and (name == "action" or getattr(body, name) is not None)


def _fault(wrong: WrongField) -> Fault:
    if wrong.field == "external_id":
        return Fault(code="bad_user", detail=wrong.what, parameter=wrong.field)
    place = [] if wrong.place is None else [wrong.place]
    return Fault(code="bad_user", detail=wrong.what, pointer=pointer_to(wrong.field, *place))
