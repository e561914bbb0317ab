"""Puts the API into the console's application, with its document and the page that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import render_template
from flask_openapi3.models.security_scheme import SecurityScheme
from werkzeug.routing import BaseConverter

from console.api import bulk, requests, tenants, users  # noqa: F401 -- for the routes that they declare
from console.api.blueprint import SECURITY, api
from console.api.document import complete
from console.api.refusals import codes
from console.api.schemas import Problem, refuse

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

ABOUT_TOKENS = "`mailroom api-token create` makes one; it reads or writes, one tenant or all"


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
    requests.accompany(app)
    app.register_api(api)
    document = complete(app.api_doc)
    app.add_url_rule("/api/openapi.json", "openapi", lambda: document)
    app.add_url_rule("/api/docs", "api_docs", lambda: _page(document))


def _page(document: dict[str, Any]) -> str:
    return render_template("api_docs.html", document=document, codes=codes())
