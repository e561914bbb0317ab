"""The door's own server and Flask, with a view that does nothing."""

from __future__ import annotations

from ingest.keeper import open_keeper
from ingest.minimal_flask import Answer, DoorFlask
from ingest.server import Bodies, Server
from shared.settings import current


def create_app() -> DoorFlask:
    """Return an application that answers webhooks and health checks with 200."""
    flask = DoorFlask(__name__)
    flask.add_url_rule("/webhooks/front", "receive", Answer, methods=["POST"])
    flask.add_url_rule("/livez", "livez", Answer)
    return flask


def open_empty_door() -> Server:
    """Return the server around it, made as the door's own is."""
    settings = current()
    return Server(create_app(), open_keeper(settings), Bodies(limit=settings.max_body_bytes))
