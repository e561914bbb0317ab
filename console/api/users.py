"""The routes of users, one by one and page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from console.api.blueprint import BODY_PROBLEMS, CONFLICT, USERS, api, keep_tenant, needs
from console.api.lists import cut, place_after
from console.api.problems import Fault, Invalid, UnknownUser
from console.api.schemas import TenantPath, pointer_to
from console.api.user_schemas import (
    DeleteQuery,
    PutQuery,
    ReplaceQuery,
    UserFields,
    UserPage,
    UserPatch,
    UserPath,
    UserShown,
    UsersQuery,
)
from console.api.user_writes import put_user, with_tenant_lock
from console.user_validation import LONGEST_ID, BadUser, validated_user
from console.web.resources import current_resources
from shared.addresses import match_key
from shared.db.users import users
from shared.text import clean

if TYPE_CHECKING:
    from console.user_validation import WrongField
    from shared.db.core.pool import Connection
    from shared.db.users.users import NewUser, User


USER_ROUTE = "/tenants/<int:tenant_id>/users/<anything:external_id>"
Document = dict[str, Any]


@api.get("/tenants/<int:tenant_id>/users", tags=[USERS], responses={200: UserPage})
def list_users(path: TenantPath, query: UsersQuery) -> Document:
    """List a tenant's users by external id."""
    place = place_after(query.after, str)
    after = clean(place[0], LONGEST_ID) if place else ""
    key = None if query.address is None else match_key(query.address) or ""

    def read(conn: Connection) -> list[User]:
        keep_tenant(conn, path.tenant_id)
        return users.page(conn, path.tenant_id, limit=query.limit + 1, after=after, active=query.active, key=key)

    found = current_resources().pool.run(read)
    page, following = cut(found, query.limit, lambda user: [user.external_id])
    return {"users": page, "next": following}


@api.get(USER_ROUTE, tags=[USERS], responses={200: UserShown})
def show_user(path: UserPath) -> Document:
    """Show one user."""
    return vars(current_resources().pool.run(lambda conn: _find(conn, path)))


@api.put(USER_ROUTE, tags=[USERS], responses={200: UserShown, 201: UserShown, **BODY_PROBLEMS, **CONFLICT})
@needs("users")
def replace_user(path: UserPath, query: ReplaceQuery, body: UserFields) -> tuple[Document, int]:
    """Make one user, or replace the one with this external id. The same request again changes nothing."""
    user = _new_user(path.external_id, body)

    def write(conn: Connection) -> tuple[Document, int]:
        keep_tenant(conn, path.tenant_id)
        if query.new:
            users.add(conn, path.tenant_id, user)
        outcome = "added" if query.new else put_user(conn, path.tenant_id, user, move=query.move)
        return vars(_find(conn, path)), 201 if outcome == "added" else 200

    return with_tenant_lock(path.tenant_id, write)


@api.patch(USER_ROUTE, tags=[USERS], responses={200: UserShown, **BODY_PROBLEMS, **CONFLICT})
@needs("users")
def change_user(path: UserPath, query: PutQuery, body: UserPatch) -> Document:
    """Change fields of one user."""

    def write(conn: Connection) -> Document:
        keep_tenant(conn, path.tenant_id)
        users.lock(conn, path.tenant_id)
        present = _find(conn, path)
        changes = {name: value for name, value in vars(body).items() if _is_changed(body, name)}
        fields = UserFields.model_construct(**vars(present) | changes)
        put_user(conn, path.tenant_id, _new_user(present.external_id, fields), move=query.move)
        return vars(_find(conn, path))

    return with_tenant_lock(path.tenant_id, write)


@api.delete(USER_ROUTE, tags=[USERS], responses={204: None})
@needs("users")
def delete_user(path: UserPath, query: DeleteQuery) -> tuple[str, int]:
    """Set one user inactive, or erase the user."""

    def write(conn: Connection) -> None:
        keep_tenant(conn, path.tenant_id)
        users.lock(conn, path.tenant_id)
        remove = users.erase if query.erase else users.deactivate
        remove(conn, path.tenant_id, _find(conn, path).external_id)

    with_tenant_lock(path.tenant_id, write)
    return "", 204


def _find(conn: Connection, path: UserPath) -> User:
    user = users.find(conn, path.tenant_id, clean(path.external_id, LONGEST_ID + 1))
    if user is None:
        raise UnknownUser(f"tenant {path.tenant_id} has no user {path.external_id[:LONGEST_ID]!r}")
    return user


def _new_user(external_id: str, fields: UserFields) -> NewUser:
    try:
        return validated_user(external_id, fields.name, fields.addresses, fields.action or "", active=fields.active)
    except BadUser as error:
        raise Invalid("the user has mistakes: see errors", faults=[_fault(each) for each in error.fields]) from None


def _is_changed(body: UserPatch, name: str) -> bool:
    """Whether the body changes this field; only for the action, null is a value."""
    return name in body.model_fields_set and (name == "action" or getattr(body, name) is not None)


def _fault(wrong: WrongField) -> Fault:
    if wrong.field == "external_id":
        return Fault(code="bad_user", detail=wrong.what, parameter=wrong.field)
    place = [] if wrong.place is None else [wrong.place]
    return Fault(code="bad_user", detail=wrong.what, pointer=pointer_to(wrong.field, *place))
