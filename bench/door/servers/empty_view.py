"""The door's own server and Flask, with a view that does nothing."""

from __future__ import annotations

from ingest.flask_app import Answer, DoorFlask
from ingest.keeper import open_keeper
from ingest.server import Server
from shared.settings import current


def make_app() -> DoorFlask:
    """A view for webhooks and one for those who ask whether it runs."""
    flask = DoorFlask(__name__)
    flask.add_url_rule("/webhooks/front", "receive", Answer, methods=["POST"])
    flask.add_url_rule("/livez", "livez", Answer)
    return flask


def open_empty() -> Server:
    """The server around it, as the door's own is made."""
    settings = current()
    return Server(make_app(), open_keeper(settings), max_body_bytes=settings.max_body_bytes)
