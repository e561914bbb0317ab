"""Puts the API into the console's application, with its document and the page that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import render_template
from flask_openapi3.models.security_scheme import SecurityScheme
from werkzeug.routing import BaseConverter

from console.api import bulk, problems, tenants, users  # noqa: F401 -- for the routes that they declare
from console.api.blueprint import SECURITY, api
from console.api.problems import codes
from console.api.schemas import Problem, refuse

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI


ABOUT = (
    "Send a token with each request: `Authorization: Bearer mr_…`; `mailroom api-token create` makes one. "
    "Errors are problem details (RFC 9457) with a stable `code`. Every answer has the id of its request in "
    "`X-Request-ID`: yours, if you send one of 8 to 64 letters, digits, dots, dashes or underscores."
)
HEADERS = {
    "401": ("WWW-Authenticate", "How to authenticate (RFC 6750)"),
    "403": ("WWW-Authenticate", "Which scope it takes"),
    "503": ("Retry-After", "Seconds after which to send it again"),
}

ABOUT_TOKENS = "`mailroom api-token create` makes one; it reads or writes, one tenant or all"


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with plain descriptions, and with the headers that answers carry."""
    document["info"]["description"] = ABOUT
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete(operation)
    return document


def _complete(operation: dict[str, Any]) -> None:
    if "description" in operation:
        operation["description"] = operation["description"].replace("<br/>", " ").strip()
    for status, (name, meaning) in HEADERS.items():
        operation["responses"][status]["headers"] = {name: {"description": meaning, "schema": {"type": "string"}}}


class AnythingConverter(BaseConverter):
    """The rest of a path whatever it holds, slashes at either end included."""

    regex = ".+"
    part_isolating = False
    weight = 300


def mount(app: OpenAPI) -> None:
    """Serve the API below /api/v1, its document at /api/openapi.json and a page about it at /api/docs."""
    app.url_map.converters["anything"] = AnythingConverter
    app.url_map.merge_slashes = False  # an external id may hold several in a row
    app.security_schemes = {SECURITY: SecurityScheme(type="http", scheme="bearer", description=ABOUT_TOKENS)}
    app.validation_error_model = Problem
    app.validation_error_callback = refuse
    problems.accompany(app)
    app.register_api(api)
    document = complete(app.api_doc)
    app.add_url_rule("/api/openapi.json", "openapi", lambda: document)
    app.add_url_rule("/api/docs", "api_docs", lambda: _page(document))


def _page(document: dict[str, Any]) -> str:
    return render_template("api_docs.html", document=document, codes=codes())
