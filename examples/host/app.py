"""A host application in one file: it takes notifications of Mailroom, and shows each user the messages for them."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from flask import Flask, Response, abort, render_template, request, send_from_directory
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

TABLE = "CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, body TEXT NOT NULL, has_files INTEGER NOT NULL)"
FOR_USER = "SELECT body FROM messages, json_each(body, '$.data.users') WHERE value = ? ORDER BY messages.rowid DESC"


class Messages:
    """The messages in a database, and their files beside it. A file's name is the SHA-256 of its bytes."""

    def __init__(self, folder: Path):
        self.files = folder.resolve() / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._database = folder / "messages.sqlite"
        self._come = threading.Event()
        self.query(TABLE)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own, and return its rows."""
        with closing(sqlite3.connect(self._database, timeout=30)) as database, database:
            return database.execute(sql, values).fetchall()

    def add(self, webhook_id: str, body: str) -> None:
        """Store a message. One that comes again, under the same id, is stored already."""
        self.query("INSERT OR IGNORE INTO messages VALUES (?, ?, 0)", webhook_id, body)
        self._come.set()

    def find(self, user: str | None) -> list[dict[str, Any]]:
        """Return the messages for a user, or all, the newest first."""
        rows = self.query(FOR_USER, user) if user else self.query("SELECT body FROM messages ORDER BY rowid DESC")
        return [json.loads(body)["data"] for (body,) in rows]

    def fetch_files(self) -> None:
        """Fetch the files of new messages for as long as the program runs. A link of a file is good for six hours."""
        while True:
            self._come.clear()
            for webhook_id, body in self.query("SELECT id, body FROM messages WHERE NOT has_files"):
                try:
                    for file in json.loads(body)["data"]["attachments"]:
                        self._fetch(file)
                    self.query("UPDATE messages SET has_files = 1 WHERE id = ?", webhook_id)
                except (requests.RequestException, ValueError) as exc:
                    print(f"a file of {webhook_id} is not here yet: {type(exc).__name__}", flush=True)
            self._come.wait(10)

    def _fetch(self, file: dict[str, Any]) -> None:
        url, sha256 = file["download_url"], file["sha256"]
        if not url or file["download_expires_at"] < datetime.now(UTC).isoformat() or (self.files / sha256).exists():
            return  # a file that failed has no link; one whose link has ended is read at `url`, with an API token
        answer = requests.get(url, timeout=30)
        answer.raise_for_status()
        if hashlib.sha256(answer.content).hexdigest() != sha256:
            raise ValueError("these are other bytes")
        (self.files / f"{sha256}.part").write_bytes(answer.content)
        (self.files / f"{sha256}.part").replace(self.files / sha256)


def create_app(secret: str, messages: Messages) -> Flask:
    """Return the web application. In yours, the user is the one who is logged in."""
    app, webhook = Flask(__name__), Webhook(secret)

    @app.post("/mailroom")
    def receive() -> tuple[str, int]:
        """Store a message and answer at once; the work comes after that."""
        body = request.get_data(as_text=True)
        try:
            notification = webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError):
            abort(401)
        if notification["type"].startswith("message."):
            messages.add(request.headers["webhook-id"], body)
        return "", 204

    @app.get("/")
    @app.get("/users/<path:user>")
    def show(user: str | None = None) -> str:
        here = {path.name for path in messages.files.iterdir()}
        return render_template("messages.html", user=user, messages=messages.find(user), here=here)

    @app.get("/files/<sha256>")
    def file(sha256: str) -> Response:
        return send_from_directory(messages.files, sha256, as_attachment=True, download_name=request.args.get("name"))

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=Path("host-data"))
    options = parser.parse_args()
    stored = Messages(options.folder)
    threading.Thread(target=stored.fetch_files, daemon=True).start()
    create_app(os.environ["WEBHOOK_SECRET"], stored).run(port=options.port, load_dotenv=False)
