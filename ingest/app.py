"""The door's Flask application: takes Front's webhooks in and answers. It never looks into a body.

Views wait for nothing. The server (ingest/server.py) collects the body before a view runs, and keeps the delivery that
the view leaves in the Hold before it sends the view's answer.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal

import structlog
from flask import Flask, Response, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException

from ingest.checks import Checks
from shared import metrics
from shared.errors import ComeBack, DoorFull, Refused
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Request
    from werkzeug.datastructures import Headers
    from werkzeug.routing import MapAdapter

    from shared.settings import Settings

log = structlog.get_logger(__name__)

WEBHOOKS = "/webhooks/front"
READYZ = "/readyz"
METRICS = "/metrics"
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
RETRY_AFTER = "5"  # seconds


class Hold:
    """What the server and a view hand each other, in the WSGI environment of one request.

    `failure`: raised instead of running the view. `stores`: which of them are writable, for the readiness view.
    `delivery`: the server must keep it before it sends the answer.
    """

    __slots__ = ("delivery", "failure", "stores")
    KEY = "mailroom.hold"

    def __init__(self) -> None:
        self.delivery: Delivery | None = None
        self.failure: Exception | None = None
        self.stores: Mapping[Literal["intake", "spool"], bool] = {}


def create_app(settings: Settings, *, now: Callable[[], float] = time.time) -> Flask:
    """Make the application. It serves webhooks only behind a server that has put a Hold into the environment."""
    app = DoorFlask(__name__, static_folder=None)
    checks = Checks(settings, now=now)
    app.add_url_rule(WEBHOOKS, "receive", lambda: receive(checks), methods=["POST"])
    app.add_url_rule("/livez", "livez", lambda: _json({"alive": True}))
    app.add_url_rule(READYZ, "readyz", readyz)
    app.add_url_rule(METRICS, "metrics", lambda: Response(metrics.exposition(), content_type=EXPOSITION))
    app.before_request(raise_failure)
    app.register_error_handler(Refused, refuse)
    app.register_error_handler(ComeBack, ask_to_come_back)
    app.register_error_handler(HTTPException, answer_http_error)
    return app


def receive(checks: Checks) -> Response:
    """Answer one webhook. Its 200 with a delivery id may be sent when the delivery in the Hold is kept."""
    environ = request.environ
    hold: Hold = environ[Hold.KEY]  # without one nobody would keep the delivery
    admitted = checks.admit(environ, environ["wsgi.input"].read())
    if isinstance(admitted, Delivery):
        hold.delivery = admitted
        return _json({"delivery_id": admitted.id})
    metrics.DELIVERIES.labels("challenge").inc()
    return _json({"challenge": admitted})


def readyz() -> Response:
    """Say whether some store can keep a delivery now."""
    hold: Hold = request.environ[Hold.KEY]
    ready = any(hold.stores.values())
    checks = {name: "writable" if writable else "away" for name, writable in hold.stores.items()}
    return _json({"ready": ready, "checks": checks}, 200 if ready else 503)


def raise_failure() -> None:
    """Raise what the server found out, so that its problems are answered here like all others."""
    hold: Hold | None = request.environ.get(Hold.KEY)
    if hold and hold.failure:
        raise hold.failure


def refuse(exc: Refused) -> Response:
    """Tell the sender that it must change something."""
    metrics.DELIVERIES.labels(exc.code).inc()
    log.info("request_refused", code=exc.code, reason=str(exc))
    return _problem(exc.status, exc.code, str(exc))


def ask_to_come_back(exc: ComeBack) -> Response:
    """Ask the sender to send it again. The stores' own words stay in the log."""
    metrics.DELIVERIES.labels(exc.code).inc()
    delivery = request.environ[Hold.KEY].delivery
    known = {"delivery_id": delivery.id} if delivery else {}
    log.warning("delivery_not_kept", **known, code=exc.code, reason=str(exc))
    detail = str(exc) if isinstance(exc, DoorFull) else "neither Redis nor PostgreSQL took the delivery; send it again"
    answer = _problem(503, exc.code, detail)
    answer.headers["Retry-After"] = RETRY_AFTER
    return answer


def answer_http_error(exc: HTTPException) -> Response:
    """Answer what HTTP itself has a name for; a bug is a 500 that says nothing of itself."""
    answer = _problem(exc.code or 500, exc.name.lower().replace(" ", "_"), exc.description or exc.name)
    for name, value in exc.get_headers():
        if name != "Content-Type":
            answer.headers[name] = value  # Allow, for example
    return answer


def _problem(status: int, code: str, detail: str) -> Response:
    """An answer that people and programs can read (RFC 9457), with our code and nothing of what was sent."""
    body = {"type": "about:blank", "status": status, "title": code.replace("_", " "), "code": code, "detail": detail}
    return _json(body, status, "application/problem+json")


def _json(body: Mapping[str, Any], status: int = 200, content_type: str = "application/json") -> Response:
    return Answer(json.dumps(body), status, content_type=content_type)


class Answer(Response):
    """A response whose headers are sent as they are: it names no location to be completed."""

    def get_wsgi_headers(self, environ: Mapping[str, Any]) -> Headers:  # noqa: ARG002 - Werkzeug's signature
        """Give the headers themselves, not a corrected copy."""
        return self.headers


class NoSession(SessionInterface):
    """No sessions: the door knows nobody."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature
        """Give the same empty session to all."""
        return self._none

    def is_null_session(self, obj: object) -> bool:  # noqa: ARG002 - Flask's signature
        """Nothing is ever saved."""
        return True


class DoorFlask(Flask):
    """Flask without what the door has no use for: sessions, and hosts to route by or to make URLs of."""

    session_interface = NoSession()

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.url_map.merge_slashes = False  # a webhook is not redirected

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Route by path and method alone, whatever host the request names."""
        if request is None:
            return None
        return self.url_map.bind("door", path_info=request.path, default_method=request.method)
