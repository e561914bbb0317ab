"""The console as a WSGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from console import installed_version
from console.api.mount import mount
from console.web import connect, problems
from console.web.resources import lend, open_resources

if TYPE_CHECKING:
    from flask import Flask, Response

    from console.web.resources import Resources
    from shared.settings import Settings


POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a connect link's address is a secret
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}

MOST_BYTES = 2**20


def guard(app: Flask, *, https: bool) -> None:
    """Send these headers with every answer."""
    headers = HEADERS | (HTTPS_ONLY if https else {})

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.update(headers)
        return response


def create_app(settings: Settings, *, resources: Resources | None = None) -> OpenAPI:
    """The application; connects when first used. Raises ConfigurationError.

    The library's own pages for the API's document load scripts from elsewhere and are off.
    """
    app = OpenAPI(
        __name__,
        info=Info(title="Mailroom", version=installed_version() or "0"),
        doc_ui=False,
        static_folder="static",
        template_folder="templates",
    )
    lend(app, resources or open_resources(settings))
    https = settings.public_url.startswith("https://")
    app.config.update(
        SECRET_KEY=settings.secret_key.get_secret_value(),
        MAX_CONTENT_LENGTH=MOST_BYTES,
        SESSION_COOKIE_NAME="__Host-mailroom" if https else "mailroom",
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_SAMESITE="Lax",  # strict would leave it out when Front sends the browser back
    )
    guard(app, https=https)
    problems.register_problems(app)
    app.add_url_rule("/livez", "livez", lambda: {"alive": True})
    mount(app)
    for room in (connect.bp, connect.connected_bp):
        app.register_blueprint(room)
    return app
