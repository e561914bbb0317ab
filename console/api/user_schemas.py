"""The schemas of users: as the API takes them and as it shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from console.api.problems import Fault
from console.api.schemas import Parameters, RequestBody, ResponseBody, TenantId, faults_of
from console.user_validation import LONGEST_ID, LONGEST_NAME

MOST_USERS = 5_000  # of one request
MOST_ADDRESSES = 100  # of one user
MOST_FAULTS = 10  # reported of one user of a list: 4 MB of nonsense must not be answered with 50 MB
LONGEST_PAGE = 500


def _stripped(value: str) -> str:
    """Strip as `validated_user` does: pydantic leaves four separators (U+001C to U+001F) at the ends."""
    if not (stripped := value.strip()):
        raise ValueError("an address of nothing but spaces")
    return stripped


AddressText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400), AfterValidator(_stripped)
]
ExternalId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_ID),
    Field(description="Your own id of this user: any printable characters"),
]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME), Field(description="The name for people")
]
Addresses = Annotated[
    list[AddressText],
    Field(min_length=1, max_length=MOST_ADDRESSES, description="All addresses, in the order to show them"),
]
Action = Annotated[
    str | None,
    Field(description="none, archive, trash or tag:TAG_ID; null: the tenant's action"),
]
EXAMPLE: dict[str, JsonValue] = {
    "name": "Nora Lind",
    "addresses": ["nora@acme.example", "n.lind@acme.example"],
    "action": "archive",
}
ITEM: dict[str, JsonValue] = {"external_id": "17", **EXAMPLE}


class UserPath(Parameters):
    """The address of a user."""

    tenant_id: TenantId
    external_id: Annotated[
        str,
        StringConstraints(strip_whitespace=True),
        Field(description="Percent-encoded where needed; `a/b` is `a/b` or `a%2Fb`"),
    ]


class PutQuery(Parameters):
    """The choices of a PUT or PATCH of a user."""

    move: bool = Field(default=False, description="Take addresses away from other users; else refuse them (409)")


class ReplaceQuery(PutQuery):
    """The choices of a PUT of a user."""

    new: bool = Field(default=False, description="Only make a user, and refuse (409) if there is one; moves nothing")


class DeleteQuery(Parameters):
    """The choices of a DELETE of a user."""

    erase: bool = Field(
        default=False, description="Erase the user; else it is set inactive, so that history keeps its reasons"
    )


class UsersQuery(Parameters):
    """A page of users, by external id."""

    limit: int = Field(100, ge=1, le=LONGEST_PAGE, description="Most users on a page")
    after: str | None = Field(None, max_length=2_000, description="`next` of the previous page")
    active: bool | None = Field(None, description="true: only active users; false: only inactive ones")
    address: str | None = Field(None, max_length=400, description="Only the user with this address")


class BulkQuery(Parameters):
    """The choices of a list of users."""

    partial: bool = Field(default=False, description="Take the correct users and list the others; else all or nothing")
    dry_run: bool = Field(default=False, description="Say what would happen, and change nothing")


class UserFields(RequestBody):
    """A complete user: a field that is left out gets its default."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    name: Name
    addresses: Addresses
    action: Action = None
    active: bool = Field(default=True, description="No mail is matched with an inactive user")


class UserItem(UserFields):
    """A user of a list."""

    model_config = ConfigDict(json_schema_extra={"example": ITEM})

    external_id: ExternalId


class UserPatch(RequestBody):
    """The fields of a user to change. A field that is left out or null stays; only for the action, null is a value."""

    model_config = ConfigDict(json_schema_extra={"example": {"active": False}})

    name: Name | None = Field(None, description="The name for people")
    addresses: Addresses | None = Field(None, description="All addresses, in the order to show them")
    action: Action = None
    active: bool | None = Field(None, description="No mail is matched with an inactive user")


@dataclass(frozen=True, kw_only=True)
class WrongItem:
    """An item that describes no user; `external_id` if the item has one."""

    external_id: str | None
    faults: list[Fault]


def _item_or_wrong(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Turn a wrong item into a WrongItem, so that the mistakes of the other items are found too."""
    try:
        return handler(value)
    except ValidationError as error:
        external_id = value.get("external_id") if isinstance(value, dict) else None
        faults = faults_of(error, most=MOST_FAULTS)
        return WrongItem(external_id=external_id if isinstance(external_id, str) else None, faults=faults)


class UserList(RequestBody):
    """Many complete users."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"users": [ITEM], "missing": "keep", "addresses_of_others": "refuse"}}
    )

    users: Annotated[
        list[Annotated[UserItem, WrapValidator(_item_or_wrong)]],
        Field(min_length=1, max_length=MOST_USERS, description=f"At most {MOST_USERS:,}"),
    ]
    missing: Literal["keep", "deactivate"] = Field(
        "keep",
        description="What becomes of the tenant's users that are not in the list; `deactivate` needs a complete list",
    )
    left_out: Literal["default", "keep"] = Field(
        "default",
        description="What a user gets for `active` that is left out, and for `action` that the whole list leaves out: "
        "the default, or what it has",
    )
    addresses_of_others: Literal["refuse", "move"] = Field(
        "refuse",
        description="Whether an address may move from a user who is not in the list; within the list it may",
    )


class UserShown(ResponseBody):
    """A user."""

    external_id: str
    name: str
    addresses: list[str] = Field(description="The addresses as they were given")
    action: str | None
    active: bool


class UserPage(ResponseBody):
    """A page of users."""

    users: list[UserShown]
    next: str | None = Field(description="Where the next page begins; null: this is the last")


class MovedAddress(ResponseBody):
    """An address that moved from one user to another; both by external id."""

    address: str
    was: str
    now: str


class BulkItemFault(ResponseBody):
    """A mistake in an item."""

    index: int
    code: str
    detail: str
    pointer: str


class BulkResult(ResponseBody):
    """The outcome of a list."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"added": 1, "changed": 0, "unchanged": 0, "deactivated": 0, "moved": [], "errors": []}
        }
    )

    added: int
    changed: int
    unchanged: int
    deactivated: int
    moved: list[MovedAddress]
    errors: list[BulkItemFault] = Field(
        description=f"Only with partial=true: the parts that were left out; at most {MOST_FAULTS} mistakes of a user"
    )
