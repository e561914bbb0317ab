"""Make the console's WSGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from console.api.mount import mount_api
from console.web import connect
from console.web.pages import (  # noqa: F401 -- each declares routes of the pages
    administration,
    endpoints,
    entrance,
    events,
    failed,
    jobs,
    overview,
    rejected,
    simulator,
    tenants,
)
from console.web.pages.shell import mount_pages
from console.web.problems import register_problems
from console.web.resources import attach_resources, current_resources, open_resources
from shared import installed_version
from shared.db.core.migrate import require_current
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from flask import Flask, Response

    from console.web.resources import ConsoleResources
    from shared.settings import Settings

POLICY = f"{connect.PAGE_POLICY}; form-action 'self'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address of a connect link is a secret
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTTPS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}
MAX_BODY_BYTES = 2**20
LIVEZ = "/livez"
FAILURE = "mailroom.failure"  # in the WSGI environment: an error of the server, before it called the application


def create_app(settings: Settings, *, resources: ConsoleResources | None = None) -> OpenAPI:
    """Make the application; it connects at first use. Raises ConfigurationError."""
    app = OpenAPI(
        __name__,
        info=Info(title="Mailroom", version=installed_version() or "0"),
        doc_ui=False,  # the library's pages for the document load scripts from other hosts
        static_folder="static",
        template_folder="templates",
    )
    attach_resources(app, resources or open_resources(settings))
    https = settings.public_url.startswith("https://")
    app.config.update(
        SECRET_KEY=settings.secret_key.get_secret_value(),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="__Host-mailroom" if https else "mailroom",
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_SAMESITE="Lax",  # "Strict" would leave it out when Front sends the browser back
    )
    _add_security_headers(app, https=https)
    register_problems(app)
    app.add_url_rule(LIVEZ, "livez", lambda: {"alive": True})
    app.add_url_rule("/readyz", "readyz", _readyz)
    mount_api(app)
    app.before_request(_raise_failure)
    app.register_blueprint(connect.bp)
    mount_pages(app)
    return app


def _raise_failure() -> None:
    """Raise the error that the server met before it called the application; the error handlers answer it."""
    if failure := request.environ.get(FAILURE):
        raise failure


def _readyz() -> tuple[dict[str, object], int]:
    """Say whether PostgreSQL answers with a schema that this release can work on."""
    try:
        current_resources().pool.run(require_current)
    except StoreUnavailable as exc:
        return {"ready": False, "code": exc.code, "reason": str(exc)}, 503
    return {"ready": True}, 200


def _add_security_headers(app: Flask, *, https: bool) -> None:
    headers = HEADERS | (HTTPS_HEADERS if https else {})

    @app.after_request
    def add(response: Response) -> Response:
        policy = response.headers.get("Content-Security-Policy", POLICY)  # a page may have one of its own
        response.headers.update(headers | {"Content-Security-Policy": policy})
        return response
