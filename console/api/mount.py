"""Mount the API in the console's application: its routes, the log lines of its requests, its OpenAPI document."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from flask import abort, g, render_template, request
from flask.json.provider import DefaultJSONProvider
from flask_openapi3.models.security_scheme import SecurityScheme
from werkzeug.routing import BaseConverter

from console.api import (  # noqa: F401 -- each declares routes of the blueprint
    addresses,
    endpoints,
    events,
    jobs,
    messages,
    oversight,
    repairs,
    tasks,
    tenants,
    user_writes,
    users,
)
from console.api.blueprint import SECURITY, api
from console.api.notification_schemas import json_schema, webhooks
from console.api.problems import REQUEST_ID_HEADER, is_api_request, problem_codes, request_id
from console.api.schemas import Problem, raise_invalid
from console.json_values import as_json
from shared.host.body import SCHEMA_VERSION

if TYPE_CHECKING:
    from flask import Flask, Response
    from flask_openapi3.openapi import OpenAPI

DESCRIPTION = (
    "Send a token with each request: `Authorization: Bearer mr_…`; `mailroom api-token create` makes one. "
    "Errors are problem details (RFC 9457) with a stable `code`. Every answer has the id of its request in "
    "`X-Request-ID`: yours, if you send one of 8 to 64 letters, digits, dots, dashes or underscores."
)
TOKEN_DESCRIPTION = "`mailroom api-token create` makes one; it reads or writes, one tenant or all"  # noqa: S105
#: A header of the answers with this status.
HEADERS = {
    "401": ("WWW-Authenticate", "How to authenticate (RFC 6750)"),
    "403": ("WWW-Authenticate", "The scope that the request needs"),
    "503": ("Retry-After", "Seconds to wait before you send the request again"),
}


log = structlog.get_logger(__name__)


class JsonProvider(DefaultJSONProvider):
    """Writes rows as `--json` documents have them, and members in the order in which they are given."""

    default = staticmethod(as_json)
    sort_keys = False


class AnythingConverter(BaseConverter):
    """Matches the rest of a path whatever it is, with slashes at either end."""

    regex = ".+"
    part_isolating = False
    weight = 300


def mount_api(app: OpenAPI) -> None:
    """Serve the API below /api/v1, its document at /api/openapi.json and a page about it at /api/docs."""
    app.url_map.converters["anything"] = AnythingConverter
    app.json = JsonProvider(app)
    app.url_map.merge_slashes = False  # an external id may have several in a row
    app.security_schemes = {SECURITY: SecurityScheme(type="http", scheme="bearer", description=TOKEN_DESCRIPTION)}
    app.validation_error_model = Problem
    app.validation_error_callback = raise_invalid
    _trace_requests(app)
    app.register_api(api)
    document = _complete(app.api_doc)
    app.add_url_rule("/api/openapi.json", "openapi", lambda: document)
    app.add_url_rule("/api/schemas/<notification_type>/<int:version>.json", "notification_schema", _schema)
    app.add_url_rule("/api/docs", "api_docs", lambda: _page(document))


def _trace_requests(app: Flask) -> None:
    """Give every request below /api/ an id and a log line, even if its address is unknown."""
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(_forget)


def _begin() -> None:
    g.began = time.perf_counter()
    if is_api_request():
        structlog.contextvars.bind_contextvars(request_id=request_id())


def _end(response: Response) -> Response:
    if is_api_request():
        response.headers[REQUEST_ID_HEADER] = request_id()
        log.info(
            "api_request",
            method=request.method,
            route=request.url_rule.rule if request.url_rule else None,
            status=response.status_code,
            milliseconds=round((time.perf_counter() - g.began) * 1000, 1),
            token_name=g.get("token_name"),
        )
    return response


def _forget(_: BaseException | None) -> None:
    structlog.contextvars.unbind_contextvars("request_id")


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add to the document what the library leaves out: a description, and the headers of problems."""
    document["info"]["description"] = DESCRIPTION
    document["webhooks"], schemas = webhooks()
    document["components"]["schemas"] = schemas | document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete_operation(operation)
    return document


def _complete_operation(operation: dict[str, Any]) -> None:
    if "description" in operation:
        operation["description"] = operation["description"].replace("<br/>", " ").strip()
    for status, (name, meaning) in HEADERS.items():
        operation["responses"][status]["headers"] = {name: {"description": meaning, "schema": {"type": "string"}}}


def _schema(notification_type: str, version: int) -> dict[str, Any]:
    """Return the JSON Schema of the bodies of a type of notifications."""
    found = json_schema(notification_type) if version == SCHEMA_VERSION else None
    if found is None:
        abort(404)
    return found


def _page(document: dict[str, Any]) -> str:
    return render_template("api_docs.html", document=document, codes=problem_codes())
