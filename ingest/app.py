"""The door: takes Front's webhooks in and answers, whatever happens behind it. It never looks into a body."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, request

from ingest.holding import HOLD, tell
from ingest.keeper import open_keeper
from ingest.problems import register_problems
from ingest.readiness import Readiness
from ingest.reading import read_body
from shared import metrics
from shared.errors import ChallengeTooLong, NothingStored, Refused
from shared.front.signature import check_freshness, verify
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIEnvironment

    from flask import Request

    from ingest.holding import Hold
    from ingest.keeper import Keeper
    from shared.settings import Settings

log = structlog.get_logger(__name__)

MAX_CHALLENGE = 1000  # characters; what comes back must not grow with what somebody sends


def create_app(settings: Settings, *, keeper: Keeper | None = None, now: Callable[[], float] = time.time) -> Flask:
    """The WSGI application. Connects to nothing before the first request."""
    app = Flask(__name__, static_folder=None)
    door = Door(settings, keeper or open_keeper(settings), now)
    readiness = Readiness(door.keeper.readiness)
    app.add_url_rule("/webhooks/front", view_func=door.receive, methods=["POST"])
    app.add_url_rule("/livez", "livez", lambda: _json({"alive": True}))
    app.add_url_rule("/readyz", "readyz", lambda: _json(*readiness.answer()))
    app.add_url_rule("/metrics", "metrics", _metrics)
    register_problems(app)
    return app


class Door:
    """What one webhook goes through."""

    def __init__(self, settings: Settings, keeper: Keeper, now: Callable[[], float]) -> None:
        self.keeper = keeper
        self._keys = settings.signing_keys
        self._window = settings.freshness_seconds
        self._max_bytes = settings.max_body_bytes
        self._now = now

    def receive(self) -> Response:
        """Answer one webhook; 200 with a delivery id means that it is kept, or that it is in the Hold to be kept."""
        webhook: Request = request._get_current_object()  # type: ignore[attr-defined]  # the proxy costs at each use
        began = time.perf_counter()
        try:
            return self._answer(webhook, began)
        except Refused as exc:
            metrics.DELIVERIES.labels(exc.code).inc()
            metrics.DOOR_SECONDS.observe(time.perf_counter() - began)
            log.info("refused", code=exc.code, reason=str(exc))
            raise

    def _answer(self, webhook: Request, began: float) -> Response:
        body = read_body(webhook, self._max_bytes)
        received = self._now()
        self._check_sender(webhook.environ, body, received)
        challenge = webhook.environ.get("HTTP_X_FRONT_CHALLENGE")
        if challenge is not None:
            return self._echo(challenge)
        delivery = Delivery(id=_new_id(), received_at=datetime.fromtimestamp(received, UTC), body=body)
        hold: Hold | None = webhook.environ.get(HOLD)
        if hold is None:
            self._keep(delivery, began)
        else:
            hold.delivery = delivery
        return _json({"delivery_id": delivery.id})

    def _check_sender(self, environ: WSGIEnvironment, body: bytes, received: float) -> None:
        timestamp = environ.get("HTTP_X_FRONT_REQUEST_TIMESTAMP", "")
        signature = environ.get("HTTP_X_FRONT_SIGNATURE", "")
        position = verify(body, timestamp=timestamp, signature=signature, keys=self._keys)
        metrics.SIGNING_KEYS.labels(position).inc()
        check_freshness(timestamp, now=received, window=self._window)

    def _echo(self, challenge: str) -> Response:
        if len(challenge) > MAX_CHALLENGE:
            raise ChallengeTooLong(f"X-Front-Challenge is over {MAX_CHALLENGE} characters")
        metrics.DELIVERIES.labels("challenge").inc()
        return _json({"challenge": challenge})

    def _keep(self, delivery: Delivery, began: float) -> None:
        try:
            outcome = self.keeper.keep(delivery)
        except NothingStored as exc:
            tell(delivery, exc, time.perf_counter() - began)
            raise
        tell(delivery, outcome, time.perf_counter() - began)


def _new_id() -> str:
    # Unique, not secret: reseeded in every fork, and no system call in which another thread takes over.
    return f"{random.getrandbits(128):032x}"


def _json(body: dict[str, object], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def _metrics() -> Response:
    return Response(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
