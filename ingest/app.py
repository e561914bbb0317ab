"""The door: takes Front's webhooks in and answers, whatever happens behind it. It never looks into a body."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from flask import Flask, Response, request

from ingest.door import Door, said, tell_refused
from ingest.holding import HOLD, tell
from ingest.keeper import open_keeper
from ingest.plain import WEBHOOKS
from ingest.problems import register_problems
from ingest.readiness import Readiness
from ingest.reading import read_body
from shared.errors import NothingStored, Refused
from shared.models import Delivery
from shared.process import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request

    from ingest.door import Admitted
    from ingest.holding import Hold
    from ingest.keeper import Keeper
    from shared.settings import Settings


def create_app(settings: Settings, *, keeper: Keeper | None = None, now: Callable[[], float] = time.time) -> Flask:
    """The WSGI application. Connects to nothing before the first request."""
    app = Flask(__name__, static_folder=None)
    keeper = keeper or open_keeper(settings)
    view = View(Door(settings, now=now), keeper, settings.max_body_bytes)
    readiness = Readiness(keeper.readiness)
    app.add_url_rule(WEBHOOKS, "receive", view.receive, methods=["POST"])
    app.add_url_rule("/livez", "livez", lambda: _json({"alive": True}))
    app.add_url_rule("/readyz", "readyz", lambda: _json(*readiness.answer()))
    app.add_url_rule("/metrics", "metrics", _metrics)
    register_problems(app)
    return app


class View:
    """The door as a Flask view; how any WSGI server comes to it."""

    def __init__(self, door: Door, keeper: Keeper, max_bytes: int) -> None:
        self._door = door
        self._keeper = keeper
        self._max_bytes = max_bytes

    def receive(self) -> Response:
        """Answer one webhook; 200 with a delivery id means that it is kept, or that it is in the Hold to be kept."""
        webhook: Request = request._get_current_object()  # type: ignore[attr-defined]  # the proxy costs at each use
        began = time.perf_counter()
        try:
            admitted = self._admit(webhook)
        except Refused as exc:
            tell_refused(exc, time.perf_counter() - began)
            raise
        if isinstance(admitted, Delivery):
            self._keep(admitted, webhook.environ.get(HOLD), began)
        return _json(said(admitted))

    def _admit(self, webhook: Request) -> Admitted:
        environ = webhook.environ
        return self._door.admit(
            read_body(webhook, self._max_bytes),
            timestamp=environ.get("HTTP_X_FRONT_REQUEST_TIMESTAMP", ""),
            signature=environ.get("HTTP_X_FRONT_SIGNATURE", ""),
            challenge=environ.get("HTTP_X_FRONT_CHALLENGE"),
        )

    def _keep(self, delivery: Delivery, hold: Hold | None, began: float) -> None:
        if hold is not None:
            hold.delivery = delivery
            return
        try:
            outcome = self._keeper.keep(delivery)
        except NothingStored as exc:
            tell(delivery, exc, time.perf_counter() - began)
            raise
        tell(delivery, outcome, time.perf_counter() - began)


def _json(body: dict[str, object], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def _metrics() -> Response:
    return Response(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
