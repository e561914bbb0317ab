"""The console as a WSGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from console.api.mount import mount
from console.version import installed
from console.web import connected, connecting, headers, problems
from console.web.resources import lend, open_resources

if TYPE_CHECKING:
    from console.web.resources import Resources
    from shared.settings import Settings

MOST_BYTES = 2**20


def create_app(settings: Settings, *, resources: Resources | None = None) -> OpenAPI:
    """The application; connects when first used. Raises ConfigurationError.

    The library's own pages for the API's document load scripts from elsewhere and are off.
    """
    app = OpenAPI(
        __name__,
        info=Info(title="Mailroom", version=installed() or "0"),
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
    headers.guard(app, https=https)
    problems.register_problems(app)
    app.add_url_rule("/livez", "livez", lambda: {"alive": True})
    mount(app)
    for room in (connecting.bp, connected.bp):
        app.register_blueprint(room)
    return app
