"""Make the console's WSGI applications: one for all hosts, or one for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Flask, request, send_from_directory
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from console.api.mount import mount_api
from console.web import connect
from console.web.pages import (  # noqa: F401 -- each declares routes of the pages
    addresses,
    administration,
    endpoints,
    entrance,
    events,
    exports,
    failed,
    jobs,
    oidc,
    overview,
    rejected,
    simulator,
    tenants,
)
from console.web.pages.shell import VERBS_OF_PAGES, mount_pages
from console.web.problems import register_problems
from console.web.resources import attach_resources, current_resources, open_resources
from shared import installed_version
from shared.db.core.migrate import require_current
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from wsgiref.types import WSGIEnvironment

    from flask import Response

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
__all__ = ["VERBS_OF_PAGES", "Apps", "create_app", "create_apps", "create_connect_app", "host_of"]  # with all pages

MAX_BODY_BYTES = 2**20
STATIC = Path(__file__).parent / "static"
LIVEZ = "/livez"
FAILURE = "mailroom.failure"  # in the WSGI environment: an error of the server, before it called the application


def create_app(settings: Settings, *, resources: ConsoleResources | None = None) -> OpenAPI:
    """Make the application of PUBLIC_URL; it connects at first use. Raises ConfigurationError.

    It has the pages and the API. It has the connect pages too, unless CONNECT_URL gives them a host of their own.
    """
    app = OpenAPI(
        __name__,
        info=Info(title="Mailroom", version=installed_version() or "0"),
        doc_ui=False,  # the library's pages for the document load scripts from other hosts
        static_folder="static",
        template_folder="templates",
    )
    _set_up(app, resources or open_resources(settings), url=settings.public_url)
    mount_api(app)
    app.before_request(_raise_failure)
    if not settings.has_connect_host:
        app.register_blueprint(connect.bp)
    mount_pages(app)
    return app


def create_connect_app(resources: ConsoleResources) -> Flask:
    """Make the application of CONNECT_URL: the connect pages, and nothing of the console."""
    app = _create_bare_app(resources, url=resources.settings.connect_origin)
    app.register_blueprint(connect.bp)
    return app


def create_apps(resources: ConsoleResources) -> Apps:
    """Make the applications of all hosts. With CONNECT_URL, any third host answers for its health alone."""
    settings = resources.settings
    console = create_app(settings, resources=resources)
    if not settings.has_connect_host:
        return Apps({}, other=console)
    hosts = {
        host_of(settings.public_url): console,
        host_of(settings.connect_origin): create_connect_app(resources),
    }
    return Apps(hosts, other=_create_bare_app(resources, url=settings.public_url))


class Apps:
    """The application of each host, and that of all others."""

    def __init__(self, of_hosts: Mapping[str, Flask], *, other: Flask) -> None:
        self._of_hosts = of_hosts
        self._other = other

    def of(self, environ: WSGIEnvironment) -> Flask:
        """Return the application of the host that the request names."""
        host: str = environ.get("HTTP_HOST", "")
        return self._of_hosts.get(host.lower(), self._other)


def host_of(url: str) -> str:
    """Return the host of a URL as browsers name it in the header Host: without the port that everybody knows."""
    parts = urlsplit(url.lower())
    return parts.netloc.removesuffix({"http": ":80", "https": ":443"}[parts.scheme])


def _create_bare_app(resources: ConsoleResources, *, url: str) -> Flask:
    """Make an application with its health, and with the style sheet of the page that says that there is no page."""
    app = Flask(__name__, static_folder=None, template_folder="templates")
    style = {"filename": "mailroom.css"}  # so that `url_for("static", …)` finds the address
    app.add_url_rule("/static/mailroom.css", "static", _static_file, defaults=style)
    _set_up(app, resources, url=url)
    app.before_request(_raise_failure)
    return app


def _set_up(app: Flask, resources: ConsoleResources, *, url: str) -> None:
    """Give an application its resources, cookies and headers, its answers to errors, and its health."""
    attach_resources(app, resources)
    https = url.startswith("https://")
    app.config.update(
        SECRET_KEY=resources.settings.secret_key.get_secret_value(),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="__Host-mailroom" if https else "mailroom",
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_SAMESITE="Lax",  # "Strict" would leave it out when Front sends the browser back
    )
    _add_security_headers(app, https=https)
    register_problems(app)
    app.add_url_rule(LIVEZ, "livez", lambda: {"alive": True})
    app.add_url_rule("/readyz", "readyz", _readyz)


def _static_file(filename: str) -> Response:
    return send_from_directory(STATIC, filename)


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
