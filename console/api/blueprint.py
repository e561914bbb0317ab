"""What all routes of the API share: where they are, who may come in, how they say no."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeAlias

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel

from console.api import bodies, encoding, problems, sender

Answers: TypeAlias = dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]

SECURITY = "token"
USERS = Tag(name="users", description="The people a tenant's mail is matched with.")
TENANTS = Tag(name="tenants", description="Your customers, and what is done with their conversations.")


def said(*statuses: int) -> Answers:
    """Problems as a route's documentation lists them."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {problems.MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def _named(*, name: str, path: str, method: str) -> str:  # noqa: ARG001 -- as the library calls it
    """An operation is called like the function that does it."""
    return name


#: What a route with a body may say besides.
BODY = said(400, 413, 415)

api = APIBlueprint(
    "api",
    __name__,
    url_prefix="/api/v1",
    operation_id_callback=_named,
    abp_security=[{SECURITY: []}],
    abp_responses=said(401, 403, 404, 422, 500, 503),
)
api.before_request(sender.admit)
api.before_request(encoding.refuse_other_encodings)
api.before_request(bodies.read_body)
problems.register_problems(api)
