"""Users as the API takes and shows them."""

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
from console.api.schemas import Answer, Body, Parameters, TenantId, faults_of
from console.user_validation import LONGEST_ID, LONGEST_NAME

MOST_USERS = 5_000  # of one request
MOST_ADDRESSES = 100  # of one user
MOST_FAULTS = 10  # told of one user of a list: who sends 4 MB of nonsense is not answered with 50
LONGEST_PAGE = 500


def _stripped(value: str) -> str:
    """As `validated_user` strips it: pydantic leaves four separators (U+001C to U+001F) at the ends."""
    if not (stripped := value.strip()):
        raise ValueError("an address of nothing but spaces")
    return stripped


Given = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400), AfterValidator(_stripped)
]
ExternalId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_ID),
    Field(description="Your own id of this user: any printable characters"),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME), Field(description="As people read it")]
Addresses = Annotated[
    list[Given], Field(min_length=1, max_length=MOST_ADDRESSES, description="The first is shown first")
]
Action = Annotated[
    str | None, Field(description="none, archive, trash or tag:TAG_ID in place of the tenant's; null: the tenant's")
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
    """How a user is put."""

    move: bool = Field(default=False, description="Take addresses from users who have them; else that is refused (409)")


class DeleteQuery(Parameters):
    """How a user goes."""

    erase: bool = Field(
        default=False, description="Forget the user; else it is set inactive, so that history keeps its reasons"
    )


class UsersQuery(Parameters):
    """A page of users, by external id."""

    limit: int = Field(100, ge=1, le=LONGEST_PAGE, description="Most users of a page")
    after: str | None = Field(None, max_length=2_000, description="`next` of the page before")
    active: bool | None = Field(None, description="Only users that are active, or that are not")
    address: str | None = Field(None, max_length=400, description="Only the user with this address")


class BulkQuery(Parameters):
    """How a list of users is put."""

    partial: bool = Field(default=False, description="Take what is right and list the rest; else all or nothing")


class UserFields(Body):
    """A user, whole: what is left out gets its default."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    name: Name
    addresses: Addresses
    action: Action = None
    active: bool = Field(default=True, description="An inactive user is matched with nothing")


class UserItem(UserFields):
    """A user of a list."""

    model_config = ConfigDict(json_schema_extra={"example": ITEM})

    external_id: ExternalId


class UserPatch(Body):
    """The parts of a user to change; what is left out stays, and so does what is null but for the action."""

    model_config = ConfigDict(json_schema_extra={"example": {"active": False}})

    name: Name | None = Field(None, description="As people read it")
    addresses: Addresses | None = Field(None, description="All of them; the first is shown first")
    action: Action = None
    active: bool | None = Field(None, description="An inactive user is matched with nothing")


@dataclass(frozen=True, kw_only=True)
class WrongItem:
    """An item that is no user; `external_id` where it names one."""

    external_id: str | None
    faults: list[Fault]


def _or_wrong(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One wrong item costs itself and hides none of the others' mistakes."""
    try:
        return handler(value)
    except ValidationError as error:
        named = value.get("external_id") if isinstance(value, dict) else None
        faults = faults_of(error, most=MOST_FAULTS)
        return WrongItem(external_id=named if isinstance(named, str) else None, faults=faults)


class UserList(Body):
    """Many users, each whole."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"users": [ITEM], "missing": "keep", "addresses_of_others": "refuse"}}
    )

    users: Annotated[
        list[Annotated[UserItem, WrapValidator(_or_wrong)]],
        Field(min_length=1, max_length=MOST_USERS, description=f"At most {MOST_USERS:,}"),
    ]
    missing: Literal["keep", "deactivate"] = Field(
        "keep",
        description="What becomes of the tenant's users that the list does not name; `deactivate` takes the whole list",
    )
    addresses_of_others: Literal["refuse", "move"] = Field(
        "refuse",
        description="Whether an address may move from a user whom the list does not name; within the list it may",
    )


class UserShown(Answer):
    """A user."""

    external_id: str
    name: str
    addresses: list[str] = Field(description="As they were given")
    action: str | None
    active: bool


class UserPage(Answer):
    """A page of users."""

    users: list[UserShown]
    next: str | None = Field(description="Where the next page begins; null: this is the last")


class MovedAddress(Answer):
    """An address that changed hands; users by external id."""

    address: str
    was: str
    now: str


class BulkItemFault(Answer):
    """What is wrong with an item."""

    index: int
    code: str
    detail: str
    pointer: str


class BulkAnswer(Answer):
    """What became of a list."""

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
        description=f"Only with partial=true: what was left out; at most {MOST_FAULTS} faults of a description"
    )
