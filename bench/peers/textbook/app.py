"""A Flask view that sends a Celery task: `gunicorn bench.peers.textbook.app:app`.

It uses the same packages as Mailroom, so that only their use differs.
"""

from __future__ import annotations

from flask import Flask, Response, abort, jsonify, request

from bench.peers.textbook.tasks import TASK, queue
from bench.peers.webhook import MAX_BODY_BYTES, accepted

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES


@app.post("/webhooks/front")
def receive() -> Response:
    """Check the webhook, queue it, answer."""
    body = request.get_data(cache=False)
    headers = request.headers
    if not accepted(body, headers.get("X-Front-Request-Timestamp", ""), headers.get("X-Front-Signature", "")):
        abort(401)
    task = queue.send_task(TASK, args=[body.decode()])
    return jsonify(delivery_id=task.id)


@app.get("/livez")
def livez() -> Response:
    """Answer that the process runs."""
    return jsonify(alive=True)
