"""What every request and answer of the API is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from console.api.problems import Fault, Invalid

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

BIGGEST_ID = 2**63 - 1
TenantId = Annotated[int, Field(ge=1, le=BIGGEST_ID, description="Our id of the tenant")]


class Body(BaseModel):
    """A body: exactly the fields that are described, of exactly their types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Parameters(BaseModel):
    """Parts of an address: exactly those that are described."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What the API answers with."""


class TenantPath(Parameters):
    """The address of a tenant."""

    tenant_id: TenantId


class ProblemPart(Answer):
    """What is wrong with one part of the request."""

    code: str
    detail: str
    pointer: str | None = Field(None, description="Where in the body: a JSON pointer as a fragment (RFC 6901)")
    parameter: str | None = Field(None, description="Which part of the address")
    index: int | None = Field(None, description="Which item of a list")


class Problem(Answer):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:mailroom:problem:invalid",
                "title": "invalid",
                "status": 422,
                "detail": "the body does not do: see errors",
                "code": "invalid",
                "instance": "3c1f0a7be4f94f0f8d5c0e6a5b1d2f34",
                "errors": [{"code": "missing", "detail": "Field required", "pointer": "#/name"}],
            }
        }
    )

    type: str = Field(description="urn:mailroom:problem: and the code")
    title: str = Field(description="The code in words")
    status: int = Field(description="The HTTP status again")
    detail: str = Field(description="What is wrong with this request")
    code: str = Field(description="A stable word to branch on")
    instance: str = Field(description="The id of this request, also in X-Request-ID and in the log")
    errors: list[ProblemPart] | None = Field(None, description="Each part that is wrong; at most 1,000")
    errors_left_out: int | None = Field(None, description="How many more there are")


def faults_of(error: ValidationError, *, most: int | None = None) -> list[Fault]:
    """What a failed validation found, in our words for where; the first of it, if there is a most."""
    is_body = not error.title.endswith(("Path", "Query"))
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [_fault(each, is_body) for each in found[:most]]


def refuse(error: ValidationError) -> Any:
    """Raise what a failed validation of a request is to its sender."""
    raise Invalid("the request does not do: see errors", faults=faults_of(error)) from None


def pointer_to(*path: str | int) -> str:
    """A JSON pointer as a fragment."""
    return "#" + "".join("/" + quote(str(part).replace("~", "~0").replace("/", "~1"), safe="~") for part in path)


def _fault(each: ErrorDetails, is_body: bool) -> Fault:
    place = each["loc"]
    return Fault(
        code=each["type"],
        detail=each["msg"].removeprefix("Value error, "),
        pointer=pointer_to(*place) if is_body else None,
        parameter=None if is_body else ".".join(map(str, place)),
    )
