"""The base classes of the API's schemas, the problem document, and the faults of a failed validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from console.api.problems import Fault, Invalid
from shared.text import clean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

BIGGEST_ID = 2**63 - 1
TenantId = Annotated[int, Field(ge=1, le=BIGGEST_ID, description="Our id of the tenant")]


#: Text to look for: without characters that PostgreSQL cannot store.
SoughtText = Annotated[str, AfterValidator(lambda value: clean(value, len(value)))]


class RequestBody(BaseModel):
    """A body with exactly the described fields, of exactly their types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Parameters(BaseModel):
    """Parts of an address: exactly the described ones."""

    model_config = ConfigDict(extra="forbid")


class ResponseBody(BaseModel):
    """The document of an answer."""


class TenantPath(Parameters):
    """The address of a tenant."""

    tenant_id: TenantId


class NumberPath(Parameters):
    """The address of an event, a task, a group of failures, or a job."""

    number: Annotated[int, Field(ge=1, le=BIGGEST_ID, description="Our number")]


class ProblemPart(ResponseBody):
    """A mistake in one part of the request."""

    code: str
    detail: str
    pointer: str | None = Field(None, description="Where in the body: a JSON pointer as a fragment (RFC 6901)")
    parameter: str | None = Field(None, description="Which part of the address")
    index: int | None = Field(None, description="Which item of a list")


class PossibleChangeShown(ResponseBody):
    """A change of a task or a job, and what is in its way, if anything is."""

    verb: str
    why_not: str | None


class Problem(ResponseBody):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:mailroom:problem:invalid",
                "title": "invalid",
                "status": 422,
                "detail": "the request has mistakes: see errors",
                "code": "invalid",
                "instance": "3c1f0a7be4f94f0f8d5c0e6a5b1d2f34",
                "errors": [{"code": "missing", "detail": "Field required", "pointer": "#/name"}],
            }
        }
    )

    type: str = Field(description="urn:mailroom:problem: and the code")
    title: str = Field(description="The code in words")
    status: int = Field(description="The HTTP status again")
    detail: str = Field(description="The mistake in this request, for people")
    code: str = Field(description="A stable word to branch on")
    instance: str = Field(description="The id of this request, also in X-Request-ID and in the log")
    errors: list[ProblemPart] | None = Field(None, description="Each part with a mistake; at most 1,000")
    errors_left_out: int | None = Field(None, description="How many more there are")
    start: str | None = Field(None, description="Where the feed no longer goes on from a cursor (410): where to start")
    possible_changes: list[PossibleChangeShown] | None = Field(
        None, description="Where something is in the way (409): each change, and why it cannot be made now"
    )


def faults_of(error: ValidationError, *, most: int | None = None) -> list[Fault]:
    """List the mistakes that a validation found; only the first ones, if `most` says how many."""
    is_body = not error.title.endswith(("Path", "Query"))
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [_fault(each, is_body) for each in details[:most]]


def raise_invalid(error: ValidationError) -> Any:
    """Raise Invalid with the mistakes that the validation of a request found."""
    raise Invalid("the request has mistakes: see errors", faults=faults_of(error)) from None


def pointer_to(*path: str | int) -> str:
    """Write a JSON pointer as a fragment."""
    return "#" + "".join("/" + quote(str(part).replace("~", "~0").replace("/", "~1"), safe="~") for part in path)


def _fault(details: ErrorDetails, is_body: bool) -> Fault:
    path = details["loc"]
    return Fault(
        code=details["type"],
        detail=details["msg"].removeprefix("Value error, "),
        pointer=pointer_to(*path) if is_body else None,
        parameter=None if is_body else ".".join(map(str, path)),
    )
