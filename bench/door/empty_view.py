"""The door's own server and Flask, with a view that does nothing."""

from __future__ import annotations

from flask import Flask, Response

from ingest.keeper import open_keeper_in_loop
from ingest.reception import Reception
from ingest.settings import door_settings


def create_app() -> Flask:
    """Return an application that answers webhooks and health checks with 200."""
    flask = Flask(__name__, static_folder=None)
    flask.add_url_rule("/webhooks/front", "receive", Response, methods=["POST"])
    flask.add_url_rule("/livez", "livez", Response)
    return flask


settings = door_settings()
app = Reception(create_app(), open_keeper_in_loop(settings), max_body_bytes=settings.max_body_bytes)
