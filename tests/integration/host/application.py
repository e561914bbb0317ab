"""A host application as a process of its own: it takes notifications, and answers as a test tells it to.

`python application.py` prints its port. POST /behave sets the behaviour, GET /received lists what came. Signatures are
judged by the package standardwebhooks.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

#: status, headers, delay (seconds before the answer), drip (head or body), refuse (types that get a 400), secrets.
BEHAVIOUR: dict[str, Any] = {}
RECEIVED: list[dict[str, Any]] = []
LOCK = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with LOCK:
            self._answer(200, json.dumps(RECEIVED).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/behave":
            BEHAVIOUR.update(json.loads(body))
            self._answer(200, b"")
            return
        entry = self._entry(body)
        with LOCK:
            RECEIVED.append(entry)
        if delay := BEHAVIOUR.get("delay"):
            time.sleep(delay)
        refused = entry["type"] in BEHAVIOUR.get("refuse", ()) or entry["subject"] in BEHAVIOUR.get("refuse", ())
        with LOCK:
            entry["ended"] = time.time()
            entry["status"] = 400 if refused else BEHAVIOUR.get("status", 204)
        if drip := BEHAVIOUR.get("drip"):
            self._drip(drip)
        else:
            self._answer(entry["status"], b"", BEHAVIOUR.get("headers", {}))

    def _entry(self, body: bytes) -> dict[str, Any]:
        content = json.loads(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        data = content.get("data", {})
        return {
            "path": self.path,
            "id": headers["webhook-id"],
            "body_id": content["id"],
            "timestamp": int(headers["webhook-timestamp"]),
            "signatures": len(headers["webhook-signature"].split()),
            "attempt": int(headers["mailroom-attempt"]),
            "traceparent": headers.get("traceparent"),
            "type": content["type"],
            "position": content["position"],
            "conversation": (data.get("front") or {}).get("conversation_id"),
            "subject": (data.get("message") or {}).get("subject"),
            "verified": [self._is_verified(secret, body, headers) for secret in BEHAVIOUR.get("secrets", ())],
            "began": time.time(),
            "content": content,
        }

    @staticmethod
    def _is_verified(secret: str, body: bytes, headers: dict[str, str]) -> bool:
        try:
            Webhook(secret).verify(body.decode(), headers)
        except WebhookVerificationError:
            return False
        return True

    def _drip(self, part: str) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        slow = head if part == "head" else 1_000 * b"x"
        with suppress(OSError):
            if part == "body":
                self.wfile.write(head)
            for byte in slow:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.2)
        self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
