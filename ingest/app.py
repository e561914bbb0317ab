"""The door's Flask application: takes Front's webhooks in and answers. It looks into no body of an event.

Views wait for nothing. The server (ingest/server.py) collects the body before a view runs, and keeps the delivery that
the view leaves in the Hold before it sends the view's answer.
"""

from __future__ import annotations

import json
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from flask import request
from werkzeug.exceptions import HTTPException

from ingest import door_metrics
from ingest.checks import SIGNATURE_HEADERS, Checks
from ingest.minimal_flask import Answer, DoorFlask, Hold
from shared.errors import ComeBack, DoorFull, Refused
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Flask

    from ingest.rejections import RejectionLog
    from shared.settings import Settings

log = structlog.get_logger(__name__)

WEBHOOKS = "/webhooks/front"
RETRY_AFTER = "5"  # seconds
#: What people are told of a request to another path, without that path: it may hold a secret.
NOT_FOUND_DETAILS = {
    True: f"a webhook of Front at another path; correct the webhook URL of the app in Front: it ends in {WEBHOOKS}",
    False: "no webhook: it has none of Front's headers",
}

#: Makes the answer to a request that is rejected: from status, code and detail.
Problem: TypeAlias = "Callable[[int, str, str], Answer]"


def create_app(
    settings: Settings, *, now: Callable[[], float] = time.time, rejections: RejectionLog | None = None
) -> Flask:
    """Make the application. It serves webhooks only behind a server that has put a Hold into the environment.

    `rejections` is told of each request that is not answered with success, where it is given.
    """
    app = DoorFlask(__name__)
    checks = Checks(settings, now=now)
    app.add_url_rule(WEBHOOKS, "receive", lambda: receive(checks), methods=["POST"])
    app.add_url_rule("/livez", "livez", lambda: _json({"alive": True}))
    problem = partial(_problem, rejections)
    app.register_error_handler(Refused, lambda exc: refuse(exc, problem))
    app.register_error_handler(ComeBack, lambda exc: ask_to_come_back(exc, problem))
    app.register_error_handler(HTTPException, lambda exc: answer_http_error(exc, problem))
    return app


def receive(checks: Checks) -> Answer:
    """Answer one webhook. Its 200 with a delivery id may be sent when the delivery in the Hold is kept."""
    environ = request.environ
    hold: Hold = environ[Hold.KEY]  # without one nobody would keep the delivery
    admitted = checks.admit(environ, environ["wsgi.input"].read())
    if isinstance(admitted, Delivery):
        hold.delivery = admitted
        return _json({"delivery_id": admitted.id})
    door_metrics.DELIVERIES.labels("sync" if admitted is None else "challenge").inc()
    return _json({} if admitted is None else {"challenge": admitted})


def refuse(exc: Refused, problem: Problem) -> Answer:
    """Tell the sender that it must change something."""
    door_metrics.DELIVERIES.labels(exc.code).inc()
    log.info("request_refused", code=exc.code, reason=str(exc))
    return problem(exc.status, exc.code, str(exc))


def ask_to_come_back(exc: ComeBack, problem: Problem) -> Answer:
    """Ask the sender to send it again. The stores' own words stay in the log."""
    door_metrics.DELIVERIES.labels(exc.code).inc()
    delivery = request.environ[Hold.KEY].delivery
    if delivery is None:
        log.warning("request_put_off", code=exc.code, reason=str(exc))
    else:
        log.warning("delivery_not_kept", delivery_id=delivery.id, code=exc.code, reason=str(exc))
    detail = str(exc) if isinstance(exc, DoorFull) else "neither Redis nor PostgreSQL took the delivery; send it again"
    answer = problem(503, exc.code, detail)
    answer.headers["Retry-After"] = RETRY_AFTER
    return answer


def answer_http_error(exc: HTTPException, problem: Problem) -> Answer:
    """Answer what HTTP itself has a name for; a bug is a 500 that says nothing of itself."""
    answer = problem(exc.code or 500, exc.name.lower().replace(" ", "_"), exc.description or exc.name)
    for name, value in exc.get_headers():
        if name != "Content-Type":
            answer.headers[name] = value  # Allow, for example
    return answer


def _problem(rejections: RejectionLog | None, status: int, code: str, detail: str) -> Answer:
    """An answer that people and programs can read (RFC 9457), with our code and nothing of what was sent."""
    if rejections is not None:
        seen = NOT_FOUND_DETAILS[_is_like_fronts()] if status == HTTPStatus.NOT_FOUND else detail
        rejections.note(request.environ, reason=code, status=status, detail=seen)
    body = {"type": "about:blank", "status": status, "title": code.replace("_", " "), "code": code, "detail": detail}
    return _json(body, status, "application/problem+json")


def _is_like_fronts() -> bool:
    """Whether the request has the headers with which Front signs, be they right or wrong."""
    return all(key in request.environ for key in SIGNATURE_HEADERS.values())


def _json(body: Mapping[str, Any], status: int = 200, content_type: str = "application/json") -> Answer:
    return Answer(json.dumps(body), status, content_type=content_type)
